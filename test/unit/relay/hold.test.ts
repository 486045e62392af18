/** Connections given back while a host is slow, and envelopes repeated on another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FakeUpstream } from '../../fake/upstream.ts';
import { bodyOf, BODY, deliver, fakeFor, finish, from, relayFor, said, to, TRACE, until } from './setup.ts';

const HOLD = { hold: 30, maxConnections: 1 };

function count(fake: FakeUpstream, prefix: string): number {
  return fake.commands.filter(({ line }) => line.startsWith(prefix)).length;
}

/** An envelope of three, one of them refused, given back because the body does not come. */
async function givenBack(fake: FakeUpstream, relay: ReturnType<typeof relayFor>['relay']) {
  fake.misbehave = ({ line }) => (line.includes('<no') ? { reply: '550 5.1.1 no' } : undefined);
  const transaction = relay.begin(from(), 'ID');
  const replies = await Promise.all([to('b'), to('no'), to('c')].map((one) => transaction.recipient(one)));
  transaction.bodyBegins();
  await fake.until(() => count(fake, 'RSET') === 1);
  return { transaction, replies };
}

test('a body that does not come gives the connection back; the envelope is repeated in one write', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], HOLD);
  const { transaction } = await givenBack(fake, relay);
  // The only connection there may be serves another meanwhile.
  const other = await deliver(relay, ['other']);
  assert.equal(other.final && said(other.final), '250 2.0.0 taken as 1');
  const before = fake.commands.length;
  const final = await transaction.send(TRACE, bodyOf(BODY));
  assert.equal(said(final), '250 2.0.0 taken as 2');
  const repeated = fake.commands.slice(before);
  assert.deepEqual(
    repeated.map(({ line }) => line),
    ['MAIL FROM:<a@example.net>', 'RCPT TO:<b@example.net>', 'RCPT TO:<c@example.net>', 'DATA'],
  );
  assert.equal(new Set(repeated.map(({ segment }) => segment)).size, 1);
  assert.deepEqual(fake.messages[1]?.recipients, ['<b@example.net>', '<c@example.net>']);
  assert.deepEqual(fake.messages[1].body, Buffer.concat([TRACE, BODY]));
  assert.equal(relay.counters().repeated, 1);
});

test('without PIPELINING the envelope is repeated command by command', async (t) => {
  const fake = await fakeFor(t, { capabilities: [] });
  const { relay } = relayFor(t, [fake.endpoint], HOLD);
  const { transaction } = await givenBack(fake, relay);
  const before = fake.commands.length;
  const final = await transaction.send(TRACE, bodyOf(BODY));
  assert.equal(said(final), '250 2.0.0 taken as 1');
  const repeated = fake.commands.slice(before);
  assert.equal(repeated.length, 4);
  assert.equal(new Set(repeated.map(({ segment }) => segment)).size, 4);
});

for (const capabilities of [['PIPELINING'], []]) {
  const way = capabilities.length > 0 ? 'pipelined' : 'in lockstep';
  for (const [what, misbehave] of Object.entries({
    'a recipient is refused': (line: string) => (line.includes('<c') ? { reply: '452 4.2.2 full' } : undefined),
    'all recipients are refused': (line: string) => (line.startsWith('RCPT') ? { reply: '550 5.1.1 no' } : undefined),
    'MAIL is refused': (line: string) => (line.startsWith('MAIL') ? { reply: '451 4.7.1 not now' } : undefined),
  })) {
    test(`repeated ${way}, ${what}: changed, and nothing is delivered`, async (t) => {
      const fake = await fakeFor(t, { capabilities });
      const { relay } = relayFor(t, [fake.endpoint], HOLD);
      const { transaction } = await givenBack(fake, relay);
      fake.misbehave = ({ line }) => misbehave(line);
      const final = await transaction.send(TRACE, bodyOf(BODY));
      assert.equal(final.kind === 'failure' && final.class, 'upstream.changed');
      fake.misbehave = undefined;
      const next = await deliver(relay, ['next']);
      assert.equal(next.final && said(next.final), '250 2.0.0 taken as 1');
      assert.deepEqual(
        fake.messages.map(({ recipients }) => recipients),
        [['<next@example.net>']],
      );
      assert.equal(relay.counters().changed, 1);
    });
  }
}

test('a host that is slow between recipients holds no connection either', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], HOLD);
  const transaction = relay.begin(from(), 'ID');
  const first = await transaction.recipient(to('b'));
  await fake.until(() => count(fake, 'RSET') === 1);
  await deliver(relay, ['other']);
  const second = await transaction.recipient(to('c'));
  const final = await finish(transaction, [first, second]);
  assert.equal(final && said(final), '250 2.0.0 taken as 2');
  assert.deepEqual(fake.messages[1]?.recipients, ['<b@example.net>', '<c@example.net>']);
});

test('a recipient who is asked after the answers changed is told so, and so is the message', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], HOLD);
  const { transaction } = await givenBack(fake, relay);
  fake.misbehave = ({ line }) => (line.includes('<b') ? { reply: '550 5.1.1 gone' } : undefined);
  const late = await transaction.recipient(to('d'));
  assert.equal(late.kind === 'failure' && late.class, 'upstream.changed');
  const final = await transaction.send(TRACE, bodyOf(BODY));
  assert.equal(final.kind === 'failure' && final.class, 'upstream.changed');
  assert.equal(fake.messages.length, 0);
});

test('a body in time keeps the connection', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { hold: 60_000 });
  await deliver(relay);
  assert.equal(count(fake, 'RSET'), 0);
  assert.equal(count(fake, 'MAIL'), 1);
});

test('abandoned after it was given back: nothing more is said', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], HOLD);
  const { transaction } = await givenBack(fake, relay);
  transaction.abandon();
  await deliver(relay, ['next']);
  assert.equal(count(fake, 'RSET'), 1);
  assert.equal(fake.messages.length, 1);
  assert.equal(fake.total, 1);
});

test('the connection breaks between the recipients and DATA: repeated on another, equal answers are enough', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const replies = [await transaction.recipient(to('b'))];
  fake.reset();
  await until(() => relay.servers()[0]?.connections === 0);
  const final = await finish(transaction, replies);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(fake.total, 2);
});

test('the same with a second server that does not know the recipient: changed', async (t) => {
  const first = await fakeFor(t);
  const second = await fakeFor(t, {
    misbehave: ({ stage }) => (stage === 'rcpt' ? { reply: '550 5.7.1 not a customer' } : undefined),
  });
  const { relay } = relayFor(t, [first.endpoint, second.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const replies = [await transaction.recipient(to('b'))];
  await first.close();
  await until(() => relay.servers()[0]?.connections === 0);
  const final = await finish(transaction, replies);
  assert.equal(final?.kind === 'failure' && final.class, 'upstream.changed');
  assert.equal(second.messages.length, 0);
});

test('the server closes at every recipient: it is tried once more and then given up', async (t) => {
  const fake = await fakeFor(t, {
    misbehave: ({ line }) => (line.includes('<b') ? undefined : line.startsWith('RCPT') ? 'rst' : undefined),
  });
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const first = await transaction.recipient(to('b'));
  const second = await transaction.recipient(to('c'));
  assert.equal(second.kind === 'failure' && second.class, 'upstream.lost');
  const final = await finish(transaction, [first, second]);
  assert.equal(final?.kind === 'failure' && final.class, 'upstream.lost');
  assert.ok(fake.total <= 2);
});
