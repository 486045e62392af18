/** Messages as one chunk (RFC 3030) towards a server that takes chunks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_CAPABILITIES, type Misbehaviour } from '../../fake/upstream.ts';
import { bodyOf, codeOf, deliver, fakeFor, from, relayFor, said, to, TRACE } from './setup.ts';

const capabilities = [...ALL_CAPABILITIES, 'CHUNKING'];
const PLAIN = Buffer.from('From: <a@example.net>\r\nMessage-ID: <1@example.net>\r\n\r\na line\r\nno .dot first\r\n');
const verbs = (lines: readonly { readonly line: string }[]): string[] =>
  lines.map(({ line }) => line.split(' ')[0] ?? '').filter((verb) => verb !== 'EHLO');

test('a message goes as one chunk, to the byte, and the next one on the same connection', async (t) => {
  const fake = await fakeFor(t, { capabilities });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  for (let i = 0; i < 2; i++) {
    const { final } = await deliver(relay, ['b'], PLAIN);
    assert.equal(final && said(final), `250 2.0.0 taken as ${i + 1}`);
  }
  assert.deepEqual(verbs(fake.commands), ['MAIL', 'RCPT', 'BDAT', 'MAIL', 'RCPT', 'BDAT']);
  const size = TRACE.length + PLAIN.length;
  assert.equal(fake.commands.find(({ line }) => line.startsWith('BDAT'))?.line, `BDAT ${size} LAST`);
  for (const { body } of fake.messages) assert.deepEqual(body, Buffer.concat([TRACE, PLAIN]));
});

for (const [what, bytes] of [
  ['a line that is dot-stuffed', Buffer.from('From: <a@example.net>\r\n\r\n..dot\r\n')],
  ['a dot at the very beginning', Buffer.from('..From: <a@example.net>\r\n\r\n')],
  ['more than 64 KiB', Buffer.from(`From: <a@example.net>\r\n\r\n${'x'.repeat(70)}\r\n`.padEnd(70_000, 'y\r\n'))],
] as const) {
  test(`${what}: DATA, as it came`, async (t) => {
    const fake = await fakeFor(t, { capabilities });
    const { relay } = relayFor(t, [fake.endpoint]);
    const whole = bytes.subarray(0, bytes.lastIndexOf('\r\n') + 2);
    const { final } = await deliver(relay, ['b'], whole);
    assert.equal(final && codeOf(final), 250);
    assert.deepEqual(verbs(fake.commands), ['MAIL', 'RCPT', 'DATA']);
    assert.deepEqual(fake.messages[0]?.body, Buffer.concat([TRACE, whole]));
  });
}

test('a refused chunk is passed on, and RSET comes before the next message', async (t) => {
  const fake = await fakeFor(t, { capabilities });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  fake.misbehave = ({ stage }) => (stage === 'dot' ? { reply: '554 5.7.1 spam' } : undefined);
  const refused = await deliver(relay, ['b'], PLAIN);
  assert.equal(refused.final && said(refused.final), '554 5.7.1 spam');
  fake.misbehave = () => undefined;
  const { final } = await deliver(relay, ['b'], PLAIN);
  assert.equal(final && codeOf(final), 250);
  assert.deepEqual(verbs(fake.commands), ['MAIL', 'RCPT', 'BDAT', 'RSET', 'MAIL', 'RCPT', 'BDAT']);
  assert.equal(fake.total, 1);
});

const FAULTS: readonly Misbehaviour[] = [
  'hang',
  'rst',
  'fin',
  'garbage',
  'extra',
  'extra-first',
  'wrong-code',
  { reply: '421 4.3.2 closing' },
];
for (const how of FAULTS) {
  const name = typeof how === 'string' ? how : '421';
  test(`${name} in answer to a chunk: 4yz, and another connection for the next message`, async (t) => {
    const fake = await fakeFor(t, { capabilities });
    const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1, finalTimeout: 300 });
    fake.misbehave = ({ stage }) => (stage === 'dot' ? how : undefined);
    const { final } = await deliver(relay, ['b'], PLAIN);
    assert.equal(final && codeOf(final), 451);
    assert.equal(relay.counters().possibleDuplicates, name === '421' ? 0 : 1);
    fake.misbehave = () => undefined;
    const next = await deliver(relay, ['b'], PLAIN);
    assert.equal(next.final && codeOf(next.final), 250);
    assert.equal(fake.total, 2);
  });
}

test('given up while the envelope is repeated for its chunk: nothing is sent', async (t) => {
  const fake = await fakeFor(t, { capabilities });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1, hold: 20 });
  const transaction = relay.begin(from(), 'ID');
  await transaction.recipient(to('b'));
  transaction.bodyBegins();
  await fake.until(() => verbs(fake.commands).includes('RSET'));
  // The host goes while the answers to the repeated envelope are on their way.
  fake.misbehave = ({ stage }) => {
    if (stage === 'rcpt') transaction.abandon();
    return undefined;
  };
  const final = await transaction.send(TRACE, bodyOf(PLAIN));
  assert.equal(final.kind === 'failure' && final.class, 'session.gone');
  fake.misbehave = () => undefined;
  await deliver(relay, ['c'], PLAIN);
  assert.equal(fake.messages.length, 1);
  assert.deepEqual(fake.messages[0]?.recipients, ['<c@example.net>']);
});
