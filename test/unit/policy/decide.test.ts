import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideMessage, decideRecipient } from '../../../src/policy/decide.ts';

test('the most severe action decides, among equals the first; "ignore" never does', () => {
  const seen = [
    { class: 'header.date-missing', action: 'ignore' },
    { class: 'error.filter', action: 'defer' },
    { class: 'spam.gtube', action: 'reject' },
    { class: 'header.from-missing', action: 'reject' },
  ] as const;
  assert.deepEqual(decideMessage(seen, 'enforce').verdict, { kind: 'reject', class: 'spam.gtube' });
  assert.deepEqual(decideMessage(seen.slice(0, 2), 'enforce').verdict, { kind: 'defer', class: 'error.filter' });
  assert.equal(decideMessage(seen.slice(0, 1), 'enforce').verdict.kind, 'accept');
  assert.equal(decideMessage([], 'enforce').verdict.class, 'accepted.clean');
});

test('mode "observe" refuses nothing and remembers what would have been', () => {
  assert.deepEqual(decideMessage([{ class: 'spam.gtube', action: 'reject' }], 'observe'), {
    verdict: { kind: 'accept', class: 'accepted.observed' },
    wouldBe: 'spam.gtube',
  });
  assert.equal(decideRecipient({ how: 'reject' }, 'observe').wouldBe, 'locked.subscriber');
});

test('a lock speaks as it was set; one in the kernel refuses what was let in before it', () => {
  assert.equal(decideRecipient(undefined, 'enforce').verdict.kind, 'accept');
  assert.equal(decideRecipient({ how: 'defer' }, 'enforce').verdict.class, 'locked.deferred');
  assert.equal(decideRecipient({ how: 'reject' }, 'enforce').verdict.class, 'locked.subscriber');
  assert.equal(decideRecipient({ how: 'kernel' }, 'enforce').verdict.class, 'locked.subscriber');
});
