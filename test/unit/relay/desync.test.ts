/** A server that says more than it was asked. No reply is ever given to another command. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomFrom } from '../../kit/random.ts';
import { count, seed } from '../../kit/tier.ts';
import type { Misbehaviour, Moment } from '../../fake/upstream.ts';
import { BODY, bodyOf, codeOf, deliver, fakeFor, from, relayFor, said, to, TRACE, until } from './setup.ts';

const EXTRAS = [
  '250 2.0.0 extra',
  '250-2.0.0 extra\r\n250 2.0.0 of two lines',
  '354 extra',
  '451 4.0.0 extra',
  '550 5.0.0 extra',
  '220 extra',
  '421 4.0.0 extra',
];
/** Becomes one reply with what follows it. */
const HALF = '250-half of an extra';

test(`extra replies at random: 0 replies given to the wrong command (seed ${seed})`, async (t) => {
  const random = randomFrom(seed);
  const runs = count(150, 1000);
  let injected = 0;
  const inject = ({ stage, line }: Moment): Misbehaviour | undefined => {
    if (line.includes('<no')) return { reply: `550 5.1.1 no ${line.slice(8)}` };
    // A server that can't be dialled is another matter.
    if (['connect', 'banner', 'ehlo', 'body', 'quit'].includes(stage) || !random.oneIn(12)) return undefined;
    injected++;
    return { extra: random.pick([...EXTRAS, HALF]), isFirst: random.oneIn(2) };
  };
  const fakes = [
    await fakeFor(t, { misbehave: inject }),
    await fakeFor(t, { misbehave: inject, capabilities: ['DSN'] }),
  ];
  const tallies = { accepted: 0, failed: 0, refused: 0 };

  for (let run = 0; run < runs; run++) {
    const servers = random.oneIn(2) ? fakes : fakes.toReversed();
    const { relay } = relayFor(
      t,
      servers.slice(0, 1 + random.below(2)).map(({ endpoint }) => endpoint),
      { maxConnections: 1 + random.below(3), hold: random.pick([1, 30_000]) },
    );
    const one = async (name: string): Promise<void> => {
      const transaction = relay.begin(from(`<${name}@example.net>`), name);
      const names = Array.from(
        { length: 1 + random.below(4) },
        (_, i) => `${random.oneIn(5) ? 'no' : 'r'}-${name}-${i}`,
      );
      const replies = random.oneIn(2)
        ? await Promise.all(names.map((recipient) => transaction.recipient(to(recipient))))
        : await inTurn(names, (recipient) => transaction.recipient(to(recipient)));
      const told: string[] = [];
      for (const [i, reply] of replies.entries()) {
        const path = `<${names[i]}@example.net>`;
        // Each reply of the fake names the recipient it is for.
        if (reply.kind === 'reply') assert.ok(said(reply).includes(path), `${path}: ${said(reply)}`);
        if (codeOf(reply) === 250) told.push(path);
        if (codeOf(reply) === 550) tallies.refused++;
      }
      if (told.length === 0 || random.oneIn(8)) return transaction.abandon();
      transaction.bodyBegins();
      if (random.oneIn(3)) await new Promise((resolve) => setTimeout(resolve, random.below(5)));
      const body = bodyOf(BODY);
      const doubtsBefore = relay.counters().possibleDuplicates;
      const final = await transaction.send(TRACE, body);
      body.release();
      const arrived = fakes.flatMap(({ messages }) => messages).filter((message) => message.from.includes(name));
      for (const message of arrived) assert.deepEqual(message.recipients, told, name);
      if (codeOf(final) === 250) {
        // Half a reply in front of it makes one reply of two lines: still its own.
        assert.match(said(final), /^250 2\.0\.0 taken as \d+$/m);
        assert.equal(arrived.length, 1, name);
        tallies.accepted++;
      } else {
        assert.equal(final.kind, 'failure', said(final));
        if (arrived.length > 0) assert.ok(relay.counters().possibleDuplicates > doubtsBefore, name);
        tallies.failed++;
      }
    };
    await Promise.all(Array.from({ length: 1 + random.below(3) }, (_, i) => one(`s-${run}-${i}-x`)));
    if (random.oneIn(3)) {
      // On whatever is idle now: it has to be gone, not used.
      for (const fake of fakes) fake.interject(`${random.pick(EXTRAS)}\r\n`);
      await until(() => relay.servers().every(({ connections }) => connections === 0));
      await one(`s-${run}-after-x`);
    }
    await relay.close();
    for (const fake of fakes) fake.messages.length = 0;
  }
  t.diagnostic(`${injected} extra replies; ${JSON.stringify(tallies)}`);
  assert.ok(injected > runs / 2 && tallies.accepted > runs / 4 && tallies.failed > 10 && tallies.refused > 10);
});

async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

test('a 421 that nobody asked for, behind the answer to a message: the message may have been taken', async (t) => {
  const fake = await fakeFor(t, {
    misbehave: ({ stage }) => (stage === 'dot' ? { reply: '250 2.0.0 taken\r\n421 4.3.0 bye' } : undefined),
  });
  const { relay } = relayFor(t, [fake.endpoint]);
  const { final } = await deliver(relay);
  assert.ok(final?.kind === 'failure' && final.class === 'upstream.garbage', final ? said(final) : 'none');
  assert.equal(relay.counters().possibleDuplicates, 1);
});
