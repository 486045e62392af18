/** RSET where no recipient stands: it goes with the next envelope, and is no less a question than at other times. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, deliver, fakeFor, relayFor, said } from './setup.ts';

const refuseFirst =
  (rset?: { readonly reply: string }) =>
  ({ stage, line }: { readonly stage: string; readonly line: string }) =>
    stage === 'rset' ? rset : stage === 'rcpt' && line.includes('<no@') ? { reply: '550 5.1.1 nobody' } : undefined;
const verbs = (lines: readonly { readonly line: string }[]): string[] =>
  lines.map(({ line }) => line.split(' ')[0] ?? '').filter((verb) => verb !== 'EHLO' && verb !== 'QUIT');

test('a refused recipient leaves RSET to the next envelope', async (t) => {
  const fake = await fakeFor(t, { misbehave: refuseFirst() });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  const { recipients } = await deliver(relay, ['no']);
  assert.deepEqual(recipients.map(said), ['550 5.1.1 nobody']);
  const { final } = await deliver(relay, ['yes']);
  assert.equal(final && codeOf(final), 250);
  assert.deepEqual(verbs(fake.commands), ['MAIL', 'RCPT', 'RSET', 'MAIL', 'RCPT', 'DATA']);
  assert.equal(fake.total, 1);
});

test('one that stands beside it: RSET at once', async (t) => {
  const fake = await fakeFor(t, { misbehave: refuseFirst() });
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin({ path: '<a@example.net>', parameters: '', needs: [] }, 'ID');
  for (const name of ['no', 'yes']) await transaction.recipient({ path: `<${name}@example.org>`, parameters: '' });
  transaction.abandon();
  await fake.until(() => verbs(fake.commands).includes('RSET'));
});

test('a server without PIPELINING is asked at once', async (t) => {
  const fake = await fakeFor(t, { capabilities: [], misbehave: refuseFirst() });
  const { relay } = relayFor(t, [fake.endpoint]);
  await deliver(relay, ['no']);
  await fake.until(() => verbs(fake.commands).includes('RSET'));
});

test('RSET is refused: what is said behind it counts for nothing, and another connection is used', async (t) => {
  const fake = await fakeFor(t, { misbehave: refuseFirst({ reply: '502 5.5.1 what?' }) });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  await deliver(relay, ['no']);
  const { final, recipients } = await deliver(relay, ['yes']);
  assert.deepEqual(
    [...recipients, final].map((answer) => answer && codeOf(answer)),
    [250, 250],
  );
  assert.equal(fake.total, 2);
  assert.equal(fake.messages.length, 1);
});
