/** What a transaction counts: to the message, what the host was answered with 250. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { AnyFilter } from '../../../src/filter/filter.ts';
import { isUnknownRecipient } from '../../../src/gateway/counting.ts';
import { refusal, reply } from '../../../src/smtp/reply.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';

let gateway: TestGateway;
afterEach(() => gateway.close());

const EVERYTHING = `limit_connections = ["9/minute"]
limit_messages = ["9/hour", "99/day"]
limit_recipients = ["9/day"]
limit_bytes = ["1MiB/day"]
limit_domains = ["9/hour"]
limit_senders = ["9/week"]
limit_unknown = ["9/month"]`;
const BODY = 'From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n.\r\n';

async function start(network = EVERYTHING): Promise<FakeRelay> {
  const relay = new FakeRelay();
  gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], { network }), relay });
  return relay;
}

/** What is counted after this session, by unit; what nothing is counted of is left out. */
async function counted(...said: string[]): Promise<Record<string, number>> {
  const host = gateway.connect();
  host.end(`EHLO a.example\r\n${said.join('\r\n')}\r\nQUIT\r\n`);
  await hear(host).end();
  return Object.fromEntries([...gateway.ledger.taken].filter(([, count]) => count !== 0));
}

test('a message that is taken: once for each period, with its octets, recipients, and different ones', async () => {
  await start();
  assert.deepEqual(
    await counted(
      'MAIL FROM:<a@a.example>',
      'RCPT TO:<b@b.example>',
      'RCPT TO:<c@b.example>',
      'DATA',
      BODY.slice(0, -2),
    ),
    // Two periods of messages; that a domain is the same the keeper knows.
    { bytes: 67, connections: 1, domains: 2, messages: 2, recipients: 2, senders: 1 },
  );
});

test('a message that the far side refuses, or that a filter does, is not counted; its recipients are', async () => {
  const relay = await start();
  relay.onMessage = () => ({ kind: 'reply', code: 554, bytes: reply(554, '5.6.0 no').bytes, server: 'x' });
  const mail = ['MAIL FROM:<>', 'RCPT TO:<b@b.example>', 'DATA'];
  const expected = { connections: 1, domains: 1, recipients: 1 };
  assert.deepEqual(await counted(...mail, BODY.slice(0, -2)), expected);
  gateway.ledger.taken.clear();
  assert.deepEqual(await counted(...mail, 'no header', '.'), expected);
});

test('a recipient that is not known is counted as that, one that is refused otherwise as nothing', async () => {
  await start();
  assert.deepEqual(await counted('MAIL FROM:<>', 'RCPT TO:<550@b.example>'), {
    connections: 1,
    domains: 1,
    unknown: 1,
  });
  for (const other of ['554', '450', 'fail']) {
    gateway.ledger.taken.clear();
    assert.deepEqual(
      await counted('MAIL FROM:<>', `RCPT TO:<${other}@b.example>`),
      { connections: 1, domains: 1 },
      other,
    );
  }
});

test('nothing is asked where nothing is limited', async () => {
  await start('');
  gateway.ledger.take = () => assert.fail('asked');
  assert.deepEqual(await counted('MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA', BODY.slice(0, -2)), {});
});

test('a host that is to be slow is answered later, so many at a time; the others at once', async () => {
  await start(`limit_messages = ["9/hour"]\nslow_from = 50\nslow_by = "10s"`);
  gateway.ledger.take = () => 'slow';
  gateway.rooms.heldBack = 200;
  const mail = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nQUIT\r\n';
  const host = gateway.connect();
  host.end(mail);
  assert.match(await hear(host).end(), /^221/m);
  gateway.rooms.heldBack = 199;
  const late = gateway.connect();
  late.write(mail);
  while (gateway.rooms.heldBack !== 200) await new Promise((resolve) => setImmediate(resolve));
  late.destroy();
});

test('which replies say that there is no such mailbox', () => {
  const far = (code: number, text: string): boolean =>
    isUnknownRecipient({ ...reply(code, text), class: 'upstream.reply' });
  assert.deepEqual(
    [
      far(550, '5.1.1 x'),
      far(550, 'no such user'),
      far(553, '5.1.3 x'),
      far(550, '5.7.1 x'),
      far(554, '5.1.1 x'),
      far(450, '4.1.1 x'),
    ],
    [true, true, true, false, false, false],
  );
  assert.equal(isUnknownRecipient(refusal('locked.subscriber', 'x', 'https://help.example/')), false);
});

test('limits of an identity are its own: bob is over, and alice at the same address is not', async () => {
  await start(
    'identity = ["header X-AuthUser"]\nidentity_limit_messages = ["1/hour"]\nidentity_limit_unknown = ["5/day"]',
  );
  const used = new Map<string, number>();
  gateway.ledger.take = (needs) => {
    for (const need of needs) used.set(need.subject, (used.get(need.subject) ?? 0) + need.count);
    const over = needs.find(({ subject, rule }) => (used.get(subject) ?? 0) > rule.limit);
    return over ? { over, retryMs: 1000 } : 'ok';
  };
  const mail = async (user: string): Promise<string> => {
    const host = gateway.connect();
    host.end(
      `EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nX-AuthUser: ${user}\r\n${BODY}QUIT\r\n`,
    );
    return /\n354.*\r\n(.*)\r\n/.exec(await hear(host).end())?.[1] ?? '';
  };
  assert.match(await mail('bob'), /^250/);
  assert.match(
    await mail('bob'),
    /^451 4\.7\.1 Too many messages from this source; try again in 1 second \[limit\.messages/,
  );
  assert.match(await mail('alice'), /^250/);
  assert.deepEqual(
    [...used],
    [
      ['198.51.100.10 bob', 2],
      ['198.51.100.10 alice', 1],
    ],
  );
  const attempts = await gateway.ledger.recorded(3);
  assert.deepEqual(
    attempts.map(({ identity }) => identity),
    ['bob', 'bob', 'alice'],
  );
});

test('a host that goes away while a filter looks: nothing is counted, and nobody is asked for it', async () => {
  const relay = new FakeRelay();
  const looking = Promise.withResolvers<void>();
  const looked = Promise.withResolvers<never[]>();
  const slow: AnyFilter = {
    ...{ name: 'slow', stage: 'envelope', actionOf: () => 'ignore', failure: 'ignore' },
    look: () => {
      looking.resolve();
      return looked.promise;
    },
  };
  const config = await testConfig(['127.0.0.1:2'], { network: EVERYTHING });
  gateway = await startGateway({ config, relay, filters: [slow] });
  const host = gateway.connect();
  host.write('EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n');
  await looking.promise;
  host.destroy();
  await gateway.ledger.recorded(1);
  looked.resolve([]);
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(relay.open, 0);
  assert.equal(gateway.ledger.taken.get('recipients') ?? 0, 0);
});
