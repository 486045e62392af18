/**
 * One source with many connections beside one with a single one. Counted in messages and not in time: how many of the many
 * go before one of the other. Everybody waits in one line for a connection to the smarthost, so that is one for each
 * connection of the many, and never more. (That a host's octets and commands take turns: unit/gateway/driver.test.ts.)
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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

test(`beside ${MANY} connections of one source, each message of another waits for at most one of each`, async (t) => {
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
    before.every((messages) => messages <= MANY + 2 * POOL),
    before.join(', '),
  );
  // It is told when nothing is in the way of anybody, too.
  assert.ok(before.some((messages) => messages > 0));
  assert.equal(fake.messages.filter(({ from }) => from === '<one@a.example>').length, 11);
});
