/** Rules for automatic locks: when so many are enough, whom they name, and what never counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LockRule, LockRules } from '../../../src/ledger/lockrules.ts';
import type { Class } from '../../../src/policy/classes.ts';
import { attempt } from './sample.ts';

const MINUTE = 60_000;
const rule = (change: Partial<LockRule> = {}): LockRule => ({
  ...{ name: 'spam', classes: ['spam'], count: 3, within: 10 * MINUTE, lock: 'identity', networks: [] },
  ...change,
});
type Try = {
  readonly at: number;
  readonly class?: Class;
  readonly points?: readonly Class[];
  readonly identity?: string;
  readonly mode?: string;
};

/** At which of these the rule is fulfilled, and whom it names. */
function fulfilled(
  rules: LockRules<LockRule>,
  tries: readonly Try[],
  subject = '@web-1',
): [number, string | undefined][] {
  return tries.flatMap((one, i) =>
    rules
      .seen(attempt({ class: 'spam.gtube', id: `A${i}`, identity: 'bob', ...one }), subject)
      .map(({ identity }): [number, string | undefined] => [i, identity]),
  );
}

test('so many within the time, counted anew after it; older ones do not count', () => {
  const at = [0, 1, 2, 3, 4, 5, 20, 29, 31].map((minute) => ({ at: minute * MINUTE }));
  assert.deepEqual(fulfilled(new LockRules([rule()]), at), [
    [2, 'bob'],
    [5, 'bob'],
  ]);
});

test('each identity for itself; a rule for subscribers, and who has no identity, for the subscriber', () => {
  const tries: Try[] = ['bob', 'alice', 'bob', 'alice', 'bob'].map((identity, i) => ({ at: i, identity }));
  assert.deepEqual(fulfilled(new LockRules([rule()]), tries), [[4, 'bob']]);
  assert.deepEqual(fulfilled(new LockRules([rule({ lock: 'subscriber' })]), tries), [[2, undefined]]);
  const nobody = tries.map(({ at }) => ({ at, identity: undefined as unknown as string }));
  assert.deepEqual(fulfilled(new LockRules([rule()]), nobody), [[2, undefined]]);
});

test('other subscribers, classes, networks and what is only observed do not count', () => {
  const rules = new LockRules([rule({ classes: ['spam', 'limit.unknown'], networks: ['customers'] })]);
  assert.deepEqual(fulfilled(rules, [{ at: 1 }, { at: 2 }], '@other'), []);
  const tries: Try[] = [
    { at: 1 },
    { at: 2, class: 'accepted.clean' },
    { at: 3, class: 'limit.messages' },
    { at: 4, mode: 'observe' },
    { at: 5, class: 'limit.unknown' },
    { at: 6 },
  ];
  assert.deepEqual(fulfilled(rules, tries), [[5, 'bob']]);
  const elsewhere = new LockRules([rule({ networks: ['servers'] })]);
  assert.deepEqual(fulfilled(elsewhere, tries), []);
});

test('findings that lead to lock-points count like refusals, each attempt once', () => {
  const points = (at: number, ...of: Class[]): Try => ({ at, class: 'accepted.clean', points: of });
  const tries = [points(1, 'spam.url', 'spam.campaign'), points(2, 'behaviour.helo'), { at: 3 }, points(4, 'spam.url')];
  assert.deepEqual(fulfilled(new LockRules([rule()]), tries), [[3, 'bob']]);
  assert.deepEqual(fulfilled(new LockRules([rule({ classes: ['spam.url'], count: 2 })]), tries), [[3, 'bob']]);
});

test('the ids of the attempts are the evidence, at most ten', () => {
  const rules = new LockRules([rule({ count: 12 })]);
  let evidence: readonly string[] = [];
  for (let i = 0; i < 12; i++)
    for (const wish of rules.seen(attempt({ class: 'spam.gtube', id: `A${i}`, at: i }), '@web-1'))
      evidence = wish.evidence;
  assert.deepEqual(evidence, ['A2', 'A3', 'A4', 'A5', 'A6', 'A7', 'A8', 'A9', 'A10', 'A11']);
});
