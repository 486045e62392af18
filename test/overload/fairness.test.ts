/**
 * One source with many connections beside one with a single one. Counted in messages and not in time: how many of the many
 * go before one of the other. In the line for a connection to the smarthost the sources take turns, so that is what is on
 * its way already and one turn more. (That a host's octets and commands take turns: unit/gateway/driver.test.ts.)
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '../../src/kit/clock.ts';
import { silentLog } from '../../src/kit/log.ts';
import { MAX_WAITING } from '../../src/relay/pool.ts';
import type { FarReply, RelayTransaction } from '../../src/relay/relay.ts';
import { createSmarthost } from '../../src/relay/smarthost.ts';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { hear } from '../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { count } from '../kit/tier.ts';

const MANY = count(200, 900);
const POOL = 4;
const MESSAGE = 'RCPT TO:<b@b.example>\r\nDATA\r\nFrom: a@a.example\r\n\r\nx\r\n.\r\n';

let fake: FakeUpstream;
let gateway: TestGateway;
before(async () => {
  fake = await startFakeUpstream();
  gateway = await startGateway({
    config: await testConfig([fake.endpoint], {
      smarthost: `max_connections = ${POOL}`,
      network: `max_connections = 1000`,
    }),
  });
});
after(async () => {
  await gateway.close();
  await fake.close();
});

/** A host that sends one message after the other. */
function sender(source: string, from: string): { readonly send: () => Promise<void>; readonly leave: () => void } {
  const host = gateway.connect(source);
  host.on('error', () => {});
  const heard = hear(host);
  let sent = 0;
  host.write('EHLO a.example\r\n');
  return {
    async send() {
      sent++;
      host.write(`MAIL FROM:<${from}>\r\n${MESSAGE}`);
      await heard.until(new RegExp(`(?:^250 2\\.0\\.0 taken[^]*){${sent}}`, 'm'));
    },
    leave: () => host.destroy(),
  };
}

test(`beside ${MANY} connections of one source another has its turn`, async (t) => {
  const over = new AbortController();
  const noise = Array.from({ length: MANY }, async () => {
    const { send, leave } = sender('198.51.100.20', 'many@a.example');
    while (!over.signal.aborted) await send();
    leave();
  });
  const { send, leave } = sender('198.51.100.30', 'one@a.example');
  await send();
  const before: number[] = [];
  for (let i = 0; i < 10; i++) {
    const seen = fake.messages.length;
    await send();
    before.push(fake.messages.length - seen - 1);
  }
  leave();
  over.abort();
  await Promise.all(noise);
  t.diagnostic(`messages that went before: ${before.join(', ')}`);
  assert.ok(
    before.every((messages) => messages <= 4 * POOL),
    before.join(', '),
  );
  // Else nobody had to wait, and nothing was shown.
  assert.ok(before.some((messages) => messages > 0));
  assert.equal(fake.messages.filter(({ from }) => from === '<one@a.example>').length, 11);
});

test('a line that is full of one source has room for another', async () => {
  const config = await testConfig([fake.endpoint], { smarthost: 'max_connections = 1' });
  const relay = createSmarthost(config, { log: silentLog, clock: systemClock, workerCount: 1 });
  await relay.start();
  const from = { path: '<a@a.example>', parameters: '', needs: [] };
  const to = { path: '<b@b.example>', parameters: '' };
  const ask = (source: string): RelayTransaction & { readonly answer: Promise<FarReply> } => {
    const transaction = relay.begin(from, 'ID', source);
    return Object.assign(transaction, { answer: transaction.recipient(to) });
  };
  const first = ask('many');
  assert.equal((await first.answer).kind, 'reply');
  // The first has the only connection, 1,000 wait, and there is no room for one more of them.
  const waiting = Array.from({ length: MAX_WAITING }, () => ask('many'));
  const refused = await ask('many').answer;
  assert.ok(refused.kind === 'failure' && /1000 transactions wait/.test(refused.detail), JSON.stringify(refused));
  const other = ask('one');
  const last = await waiting.at(-1)?.answer;
  assert.ok(
    last?.kind === 'failure' && /have fewer waiting/.test(last.detail),
    'the last of the many gives up its place',
  );
  first.abandon();
  const second = waiting[0] as (typeof waiting)[number];
  assert.equal((await second.answer).kind, 'reply', 'who was first in line');
  second.abandon();
  assert.equal((await other.answer).kind, 'reply', 'then it is the other source’s turn');
  for (const transaction of [...waiting, other]) transaction.abandon();
  await relay.close();
});
