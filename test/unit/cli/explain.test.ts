import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command as explain, story } from '../../../src/cli/explain.ts';
import { runCommand } from '../../kit/io.ts';
import { attempt } from '../ledger/sample.ts';

const lines = (text: string): readonly string[] => text.split('\n').map((line) => line.trim());

test('a class with a 2xx code says nothing of an acceptance that there was not', async () => {
  const { out } = await runCommand(explain, ['250']);
  assert.match(out, /^session\.no-message\n.*\n {2}retry {4}none needed$/m);
  assert.doesNotMatch(out, /retry +accepted/);
});

test('who refused is said when it was us, and only then', () => {
  const recipients = [{ recipient: 'bob@b.example', code: 250, class: 'accepted.clean' }] as const;
  const told = (of: Partial<Parameters<typeof attempt>[0]>): readonly string[] =>
    lines(story(attempt({ recipients, ...of })));
  const refused = told({ verdict: 'reject', class: 'spam.gtube' });
  assert.ok(refused.includes('RCPT to bob@b.example: 250, accepted by the smarthost.'));
  assert.ok(refused.includes('The message was refused by us: spam.gtube.'));
  assert.ok(told({ verdict: 'defer', class: 'limit.memory' }).includes('The message was put off by us: limit.memory.'));
  for (const of of [
    { verdict: 'accept', class: 'accepted.clean' },
    { verdict: 'reject', class: 'upstream.reply' },
    { verdict: 'defer', class: 'session.gone' },
    { verdict: 'reject', class: 'network.none', sender: undefined },
  ] as const)
    assert.ok(!told(of).some((line) => line.includes('by us')), of.class);
  const unanswered = [{ recipient: 'bob@b.example', code: 0, class: 'session.gone' }] as const;
  assert.ok(told({ recipients: unanswered }).includes('RCPT to bob@b.example: no reply, session.gone.'));
});
