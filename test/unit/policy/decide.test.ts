import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Class } from '../../../src/policy/classes.ts';
import {
  type Action,
  decideFound,
  decideRecipient,
  type Judged,
  pointsOf,
  type Thresholds,
} from '../../../src/policy/decide.ts';

const judged = (...all: readonly (readonly [Class, Action, number?])[]): Judged[] =>
  all.map(([class_, action, score = 0]) => ({ class: class_, action, score, by: 'x' }));
const network: Thresholds = { mode: 'enforce', scoreTag: undefined, scoreDefer: undefined, scoreReject: undefined };

test('the most severe action decides, among equals the first; "ignore" never does', () => {
  const seen = judged(
    ['header.date-missing', 'ignore', 1],
    ['error.filter', 'defer'],
    ['spam.gtube', 'reject'],
    ['header.from-missing', 'reject'],
  );
  assert.deepEqual(decideFound(seen, network).verdict, { kind: 'reject', class: 'spam.gtube' });
  assert.deepEqual(decideFound(seen.slice(0, 2), network).verdict, { kind: 'defer', class: 'error.filter' });
  assert.equal(decideFound(seen.slice(0, 1), network).verdict.kind, 'accept');
  assert.equal(decideFound([], network).verdict.class, 'accepted.clean');
});

test('what is accepted carries each tag once; what is refused carries none', () => {
  const seen = judged(['header.date-missing', 'tag'], ['spam.gtube', 'tag'], ['spam.gtube', 'tag']);
  assert.deepEqual(decideFound(seen, network), {
    verdict: { kind: 'accept', class: 'accepted.tagged' },
    wouldBe: undefined,
    tags: ['header.date-missing', 'spam.gtube'],
  });
  assert.deepEqual(decideFound([...seen, ...judged(['error.filter', 'defer'])], network).tags, []);
  assert.deepEqual(decideFound(seen, { ...network, mode: 'observe' }).tags, [], 'observe leaves the message as it is');
});

test('"lock-points" lets a message go, and its classes count towards locks whatever becomes of the message', () => {
  const seen = judged(['spam.campaign', 'lock-points', 0.7], ['spam.url', 'lock-points'], ['spam.url', 'lock-points']);
  assert.equal(decideFound(seen, network).verdict.class, 'accepted.clean');
  assert.deepEqual(pointsOf(seen), ['spam.campaign', 'spam.url']);
  const refused = [...seen, ...judged(['spam.gtube', 'reject'])];
  assert.equal(decideFound(refused, network).verdict.class, 'spam.gtube');
  assert.deepEqual(pointsOf(refused), ['spam.campaign', 'spam.url']);
  assert.equal(decideFound(seen, { ...network, scoreDefer: 0.7 }).verdict.class, 'spam.score');
  assert.equal(pointsOf(judged(['spam.gtube', 'reject'])), undefined);
});

test('scores add up to the thresholds of the network, whatever each leads to by itself', () => {
  const seen = judged(['header.date-missing', 'ignore', 0.1], ['header.from-missing', 'ignore', 0.2]);
  const at = (more: Partial<Thresholds>) => decideFound(seen, { ...network, ...more });
  assert.equal(at({}).verdict.class, 'accepted.clean');
  assert.equal(at({ scoreReject: 0.31 }).verdict.class, 'accepted.clean');
  assert.deepEqual(at({ scoreReject: 0.3 }).verdict, { kind: 'reject', class: 'spam.score' });
  assert.deepEqual(at({ scoreReject: 1, scoreDefer: 0.3 }).verdict, { kind: 'defer', class: 'spam.score' });
  assert.deepEqual(at({ scoreReject: 1, scoreTag: 0.2 }).tags, ['spam.score']);
  assert.equal(at({ scoreReject: 0.3, mode: 'observe' }).wouldBe, 'spam.score');
});

test('mode "observe" refuses nothing and remembers what would have been', () => {
  assert.deepEqual(decideFound(judged(['spam.gtube', 'reject']), { ...network, mode: 'observe' }), {
    verdict: { kind: 'accept', class: 'accepted.observed' },
    wouldBe: 'spam.gtube',
    tags: [],
  });
  assert.equal(decideRecipient({ how: 'reject' }, 'observe').wouldBe, 'locked.subscriber');
});

test('a lock speaks as it was set; one in the kernel refuses what was let in before it', () => {
  assert.equal(decideRecipient(undefined, 'enforce').verdict.kind, 'accept');
  assert.equal(decideRecipient({ how: 'defer' }, 'enforce').verdict.class, 'locked.deferred');
  assert.equal(decideRecipient({ how: 'reject' }, 'enforce').verdict.class, 'locked.subscriber');
  assert.equal(decideRecipient({ how: 'kernel' }, 'enforce').verdict.class, 'locked.subscriber');
});
