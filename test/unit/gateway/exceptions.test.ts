/** Exceptions in a session: who is not refused for what, and what is refused all the same. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import type { AnyFilter } from '../../../src/filter/filter.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { Client, codeOf } from '../../kit/client.ts';
import { startGateway, type TestGateway } from '../../kit/gateway.ts';

let gateway: TestGateway;
afterEach(() => gateway.close());

const TOML = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["127.0.0.1:2"]
tls = "none"
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
senders = ["*@a.example"]
identity = ["header X-AuthUser"]
limit_messages = ["9/day"]
`;
const GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X';

async function start(exceptions: string, filters?: readonly AnyFilter[]): Promise<void> {
  const loaded = await parseConfig(`${TOML}${exceptions}`, 'a.toml');
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.errors.map(({ message }) => message).join('\n'));
  gateway = await startGateway({ config: loaded.config, relay: new FakeRelay(), ...(filters && { filters }) });
}

/** What a message from this sender is answered with: the code of its recipient, or of the message. */
async function sent(
  from: string,
  body: string,
  source = '198.51.100.10',
  user = 'bob',
  to = '203.0.113.25',
): Promise<number> {
  const client = Client.over(gateway.connect(source, to));
  const banner = codeOf(await client.reply());
  if (banner !== 220) return banner;
  for (const line of ['EHLO a.example', `MAIL FROM:<${from}>`]) await client.ask(line);
  const code = codeOf(await client.ask('RCPT TO:<b@b.example>'));
  if (code !== 250) return code;
  await client.ask('DATA');
  const head = `From: a@a.example\r\nX-AuthUser: ${user}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n`;
  return codeOf(await client.ask(`${head}${body}\r\n.`));
}

const exception = (lines: string): string => `[[exception]]\nreason = "ticket 4711"\n${lines}\n`;

test('a source is not refused for its sender, another is, and other reasons stay', async () => {
  await start(exception('classes = ["sender"]\nsources = ["198.51.100.10"]\nuntil = "2100-01-01"'));
  assert.equal(await sent('x@c.example', 'hello'), 250);
  assert.equal(await sent('x@c.example', 'hello', '198.51.100.11'), 550);
  assert.equal(await sent('x@c.example', GTUBE), 550);
});

test('one that has ended excuses nobody', async () => {
  await start(exception('classes = ["sender"]\nsources = ["198.51.100.10"]\nuntil = "2026-01-01"'));
  assert.equal(await sent('x@c.example', 'hello'), 550);
});

test('an identity is not refused for what filters found, another at the same address is', async () => {
  await start(exception('classes = ["spam.gtube"]\nidentities = ["bob"]'));
  assert.equal(await sent('x@a.example', GTUBE), 250);
  assert.equal(await sent('x@a.example', GTUBE, '198.51.100.10', 'alice'), 550);
});

test('a destination; and limits, at the door and later', async () => {
  await start(exception('classes = ["limit"]\ndestinations = ["203.0.113.0/24"]'));
  gateway.ledger.admission = 'over';
  gateway.ledger.over.add('messages');
  assert.equal(await sent('x@a.example', 'hello'), 250);
  assert.equal(await sent('x@a.example', 'hello', '198.51.100.10', 'bob', '192.0.2.25'), 421);
  gateway.ledger.admission = 'ok';
  assert.equal(await sent('x@a.example', 'hello', '198.51.100.10', 'bob', '192.0.2.25'), 451);
});

test('a lock excuses nobody but who is named', async () => {
  await start(exception('classes = ["locked"]\nsources = ["198.51.100.10"]'));
  const lock = { how: 'reject', reason: 'r', who: 'w', since: 0, until: undefined } as const;
  gateway.ledger.locks = [
    { ...lock, subject: '198.51.100.10/32' },
    { ...lock, subject: '198.51.100.11/32' },
  ];
  assert.equal(await sent('x@a.example', 'hello'), 250);
  assert.equal(await sent('x@a.example', 'hello', '198.51.100.11'), 550);
});

test('what a filter finds of a connection, before its banner', async () => {
  const unwanted: AnyFilter = {
    name: 'unwanted',
    stage: 'connect',
    look: async () => [{ filter: 'unwanted', name: 'x', score: 0, evidence: '', class: 'behaviour.first' }],
    actionOf: () => 'defer',
    failure: 'ignore',
  };
  await start(exception('classes = ["behaviour"]\nsources = ["198.51.100.10"]'), [unwanted]);
  assert.equal(await sent('x@a.example', 'hello'), 250);
  assert.equal(await sent('x@a.example', 'hello', '198.51.100.11'), 421);
});

test('what all scores come to, after the dot and at the recipient', async () => {
  const scoring = (stage: 'envelope' | 'body'): AnyFilter =>
    ({
      ...{ name: stage, stage, actionOf: () => 'ignore', failure: 'ignore', needs: 'content' },
      look: async () => [{ filter: stage, name: 'x', score: 3, evidence: '', class: 'behaviour.first' }],
    }) as AnyFilter;
  const excused = `score_reject = 5\n${exception('classes = ["spam.score"]\nsources = ["198.51.100.10"]')}`;
  await start(excused, [scoring('envelope'), scoring('body')]);
  assert.equal(await sent('x@a.example', 'hello'), 250);
  assert.equal(await sent('x@a.example', 'hello', '198.51.100.11'), 550);
});

test('how many messages may come over one connection', async () => {
  await start(`messages_per_connection = 1\n${exception('classes = ["limit.session"]\nsources = ["198.51.100.10"]')}`);
  const second = async (source: string): Promise<number> => {
    const client = Client.over(gateway.connect(source, '203.0.113.25'));
    await client.reply();
    for (const line of ['EHLO a.example', 'MAIL FROM:<x@a.example>', 'RCPT TO:<b@b.example>', 'DATA'])
      await client.ask(line);
    assert.equal(
      codeOf(await client.ask('From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nx\r\n.')),
      250,
    );
    return codeOf(await client.ask('MAIL FROM:<x@a.example>'));
  };
  assert.deepEqual([await second('198.51.100.10'), await second('198.51.100.11')], [250, 421]);
});
