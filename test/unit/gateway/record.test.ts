/** What is remembered of each way a transaction, or a connection without one, can end: one record, and the right one. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { Class } from '../../../src/policy/classes.ts';
import type { Attempt } from '../../../src/record/events.ts';
import type { Lock } from '../../../src/ledger/language.ts';
import { far, FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';

const HELLO = 'EHLO a.example\r\n';
const MAIL = `${HELLO}MAIL FROM:<a@a.example>\r\n`;
const ENVELOPE = `${MAIL}RCPT TO:<b@b.example>\r\n`;
const GOOD = 'From: a@a.example\r\nDate: x\r\n\r\nhello\r\n.\r\n';
const GTUBE = `From: a@a.example\r\nDate: x\r\n\r\n${['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('')}\r\n.\r\n`;
const message = (body: string): string => `${ENVELOPE}DATA\r\n${body}QUIT\r\n`;

const LOCK: Lock = {
  subject: '198.51.100.10/32',
  how: 'reject',
  reason: 'test',
  who: 'test',
  since: 0,
  until: undefined,
};

type Want = Partial<Omit<Attempt, 'recipients' | 'reply' | 'upstreamReply'>> & {
  readonly reply?: string | RegExp;
  readonly recipients?: readonly (readonly [string, number, Class])[];
};
type Case = {
  readonly name: string;
  readonly says: string;
  readonly mode?: 'observe';
  readonly prepare?: (gateway: TestGateway, relay: FakeRelay) => void;
  /** what the host does in the end instead of waiting for the gateway to close */
  readonly leaves?: 'rst' | 'stop';
  readonly want: Want;
};

const CLEAN = [['<b@b.example>', 250, 'accepted.clean']] as const;

const CASES: readonly Case[] = [
  {
    name: 'a message that is taken',
    says: message(GOOD),
    want: {
      verdict: 'accept',
      class: 'accepted.clean',
      wouldBe: undefined,
      reply: '250 2.0.0 taken',
      recipients: CLEAN,
      sender: '<a@a.example>',
      helo: 'a.example',
      esmtp: true,
      sizeBytes: 37,
      upstream: 'fake',
      network: 'customers',
      mode: 'enforce',
      source: '198.51.100.10',
      destination: '203.0.113.25',
      destinationPort: 25,
      egress: 'smarthost',
      findings: [],
    },
  },
  {
    name: 'a message that the far side refuses: its own words',
    says: message(GOOD),
    prepare: (_gateway, relay) => (relay.onMessage = () => far(554, '5.7.1 not this one [x]')),
    want: { verdict: 'reject', class: 'upstream.reply', reply: '554 5.7.1 not this one [x]', recipients: CLEAN },
  },
  {
    name: 'a message that the far side defers',
    says: message(GOOD),
    prepare: (_gateway, relay) => (relay.onMessage = () => far(450, '4.2.0 later')),
    want: { verdict: 'defer', class: 'upstream.reply', reply: '450 4.2.0 later' },
  },
  {
    name: 'a message that gets no answer',
    says: message(GOOD),
    prepare: (_gateway, relay) =>
      (relay.onMessage = () => ({ kind: 'failure', class: 'upstream.timeout', detail: 'silence', server: 's1' })),
    want: { verdict: 'defer', class: 'upstream.timeout', upstream: 's1', reply: /^451 4\.4\.2 [^[]+$/ },
  },
  {
    name: 'a message that a filter refuses: what it saw, and a reply without id and URL',
    says: message(GTUBE),
    want: {
      verdict: 'reject',
      class: 'spam.gtube',
      reply: '550 5.7.1 The message has the test string for spam filters',
      relayMs: undefined,
      findings: [
        { filter: 'gtube', name: 'GTUBE', score: 1, evidence: 'the test string', class: 'spam.gtube' },
      ] as Attempt['findings'],
    },
  },
  {
    name: 'the same in mode "observe": taken, and what it would have been',
    says: message(GTUBE),
    mode: 'observe',
    want: {
      verdict: 'accept',
      class: 'accepted.observed',
      wouldBe: 'spam.gtube',
      reply: '250 2.0.0 taken',
      mode: 'observe',
    },
  },
  {
    name: 'a body that cannot be carried',
    says: `${ENVELOPE}DATA\r\nFrom: a@a.example\r\n\r\nx\0\r\n.\r\nQUIT\r\n`,
    want: { verdict: 'reject', class: 'body.nul', reply: /^554 5\.6\.0 [^[]+$/, sizeBytes: 25 },
  },
  {
    name: 'the same in mode "observe": what cannot be carried is refused there too',
    says: `${ENVELOPE}DATA\r\nFrom: a@a.example\r\n\r\nx\0\r\n.\r\nQUIT\r\n`,
    mode: 'observe',
    want: { verdict: 'reject', class: 'body.nul', wouldBe: undefined },
  },
  {
    name: 'recipients that are all refused: the last one decides',
    says: `${MAIL}RCPT TO:<550@b.example>\r\nRCPT TO:<451@b.example>\r\nDATA\r\nQUIT\r\n`,
    want: {
      verdict: 'defer',
      class: 'upstream.reply',
      reply: '',
      recipients: [
        ['<550@b.example>', 550, 'upstream.reply'],
        ['<451@b.example>', 451, 'upstream.reply'],
      ],
    },
  },
  {
    name: 'one recipient that stands and one that does not',
    says: `${ENVELOPE}RCPT TO:<550@b.example>\r\nDATA\r\n${GOOD}QUIT\r\n`,
    want: {
      verdict: 'accept',
      class: 'accepted.clean',
      recipients: [...CLEAN, ['<550@b.example>', 550, 'upstream.reply']],
    },
  },
  {
    name: 'a locked host',
    says: `${ENVELOPE}QUIT\r\n`,
    prepare: ({ ledger }) => void ledger.locks.push(LOCK),
    want: {
      verdict: 'reject',
      class: 'locked.subscriber',
      recipients: [['<b@b.example>', 550, 'locked.subscriber']],
      upstream: undefined,
    },
  },
  {
    name: 'a locked host in mode "observe"',
    says: message(GOOD),
    mode: 'observe',
    prepare: ({ ledger }) => void ledger.locks.push(LOCK),
    want: { verdict: 'accept', class: 'accepted.observed', wouldBe: 'locked.subscriber', recipients: CLEAN },
  },
  {
    name: 'a callout: recipients, no message',
    says: `${ENVELOPE}QUIT\r\n`,
    want: { verdict: 'accept', class: 'session.no-message', reply: '', recipients: CLEAN },
  },
  {
    name: 'a callout of which one recipient does not stand',
    says: `${ENVELOPE}RCPT TO:<550@b.example>\r\nQUIT\r\n`,
    want: { verdict: 'accept', class: 'session.no-message' },
  },
  {
    name: 'a message behind a refused command: the message only',
    says: `${HELLO}STARTTLS\r\n${message(GOOD)}`,
    want: { verdict: 'accept', class: 'accepted.clean' },
  },
  {
    name: 'a host that goes away in the envelope',
    says: ENVELOPE,
    want: { verdict: 'defer', class: 'session.gone', reply: '', recipients: CLEAN },
  },
  {
    name: 'a host that goes away in the body: how much had come',
    says: `${ENVELOPE}DATA\r\n12345`,
    want: { verdict: 'defer', class: 'session.gone', sizeBytes: 5 },
  },
  {
    name: 'a recipient that is not answered before the host is gone',
    says: `${MAIL}RCPT TO:<later@b.example>\r\n`,
    leaves: 'rst',
    want: { class: 'session.gone', recipients: [['<later@b.example>', 0, 'session.gone']] },
  },
  {
    name: 'a fault in a line, with a transaction open',
    says: `${ENVELOPE}NO\0OP\r\n`,
    want: { verdict: 'reject', class: 'protocol.line-end', recipients: CLEAN },
  },
  {
    name: 'a shutdown, with a transaction open',
    says: ENVELOPE,
    leaves: 'stop',
    want: { verdict: 'defer', class: 'session.shutdown', recipients: CLEAN },
  },
  {
    name: 'too many connections in mode "observe": let in, and what it would have been',
    says: message(GOOD),
    mode: 'observe',
    prepare: ({ ledger }) => (ledger.admission = 'over'),
    want: { verdict: 'accept', class: 'accepted.observed', wouldBe: 'limit.connections' },
  },
  {
    name: 'too many connections: no transaction, no sender',
    says: '',
    prepare: ({ ledger }) => (ledger.admission = 'over'),
    want: {
      verdict: 'defer',
      class: 'limit.connections',
      sender: undefined,
      recipients: [],
      helo: undefined,
      esmtp: false,
      reply: '',
    },
  },
  {
    name: 'no smarthost was ever reached',
    says: '',
    prepare: (_gateway, relay) => (relay.capabilities = undefined),
    want: { verdict: 'defer', class: 'upstream.none-yet' },
  },
  { name: 'another protocol', says: 'GET / HTTP/1.1\r\n', want: { verdict: 'defer', class: 'protocol.other' } },
  {
    name: 'a session in which every command was refused: the last class',
    says: `${HELLO}AUTH PLAIN x\r\nQUIT\r\n`,
    want: { verdict: 'reject', class: 'protocol.auth', helo: 'a.example' },
  },
];

describe('a record for', () => {
  let gateway: TestGateway;
  afterEach(() => gateway.close());

  for (const { name, says, mode, prepare, leaves, want } of CASES) {
    test(name, async () => {
      const relay = new FakeRelay();
      const network = mode === undefined ? '' : `mode = "${mode}"`;
      gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], { network }), relay });
      prepare?.(gateway, relay);
      const host = gateway.connect();
      const heard = hear(host);
      await heard.until(/\r\n/);
      // In one write, so that it is also seen that pipelining changes no record.
      if (leaves === undefined) host.end(says);
      else {
        host.write(says);
        await heard.until(/^250 2\.1\.0/m);
        for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
        if (leaves === 'rst') host.destroy();
        else await gateway.gateway.drain(0);
      }
      await heard.end();
      const attempts = await gateway.ledger.recorded(1);
      assert.equal(attempts.length, 1, 'one record');
      const got = attempts[0] as Attempt;
      const { recipients, reply, ...rest } = want;
      for (const [key, value] of Object.entries(rest)) assert.deepEqual(got[key as keyof Attempt], value, key);
      if (recipients) {
        assert.deepEqual(
          got.recipients.map((one) => [one.recipient, one.code, one.class]),
          recipients,
        );
      }
      if (reply instanceof RegExp) assert.match(got.reply, reply);
      else if (reply !== undefined) assert.equal(got.reply, reply);
      assert.equal(relay.open, 0, 'nothing is left open on the far side');
      assert.ok(got.totalMs >= 0 && (got.verdictMs ?? 0) >= 0 && (got.relayMs ?? 0) >= 0);
    });
  }

  test('none for a session without a refusal and without a transaction', async () => {
    gateway = await startGateway({ config: await testConfig(['127.0.0.1:2']), relay: new FakeRelay() });
    const host = gateway.connect();
    host.end(`${HELLO}NOOP\r\nQUIT\r\n`);
    await hear(host).end();
    assert.deepEqual(gateway.ledger.attempts, []);
  });

  test('one for each transaction of a session, each with its own id, all with the same session', async () => {
    gateway = await startGateway({ config: await testConfig(['127.0.0.1:2']), relay: new FakeRelay() });
    const host = gateway.connect();
    host.end(
      `${ENVELOPE}DATA\r\n${GOOD}MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<c@a.example>\r\nRCPT TO:<550@b.example>\r\nQUIT\r\n`,
    );
    await hear(host).end();
    const attempts = gateway.ledger.attempts;
    assert.deepEqual(
      attempts.map(({ sender, class: of }) => [sender, of]),
      [
        ['<a@a.example>', 'accepted.clean'],
        ['<>', 'session.no-message'],
        ['<c@a.example>', 'upstream.reply'],
      ],
    );
    assert.equal(new Set(attempts.map(({ id }) => id)).size, 3);
    assert.equal(new Set(attempts.map(({ session }) => session)).size, 1);
  });

  test('a host that resets while its message is on its way: the far side’s answer, and the message is there', async () => {
    const relay = new FakeRelay();
    const { promise, resolve } = Promise.withResolvers<void>();
    const { promise: sent, resolve: isSent } = Promise.withResolvers<void>();
    relay.onMessage = async () => {
      isSent();
      await promise;
      return far(250, '2.0.0 taken');
    };
    gateway = await startGateway({ config: await testConfig(['127.0.0.1:2']), relay });
    const host = gateway.connect();
    host.on('error', () => {});
    host.write(`${ENVELOPE}DATA\r\n${GOOD}`);
    await sent;
    host.destroy();
    await new Promise((turn) => setImmediate(turn));
    assert.deepEqual(gateway.ledger.attempts, [], 'not before it is known what became of it');
    resolve();
    const [attempt] = await gateway.ledger.recorded(1);
    assert.deepEqual(
      [attempt?.verdict, attempt?.class, attempt?.reply],
      ['accept', 'accepted.clean', '250 2.0.0 taken'],
    );
    assert.equal(relay.messages.length, 1);
  });
});
