import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { FromKeeper, ToKeeper } from '../../../src/ledger/language.ts';
import { checkFromKeeper, checkToKeeper } from '../../../src/ledger/language-check.ts';
import { seed } from '../../kit/tier.ts';
import { attempt, counts, kernelReport, throughJson } from './sample.ts';

const lock = { subject: '198.51.100.7/32', how: 'kernel', reason: 'spam', who: 'root', since: 1 } as const;

const rule = { unit: 'messages', period: 'hour', limit: 30 } as const;

const toKeeper: readonly ToKeeper[] = [
  { kind: 'hello', v: 6, role: 'worker', worker: 3 },
  { kind: 'hello', v: 6, role: 'guard' },
  { kind: 'events', batch: [attempt(), counts()] },
  {
    kind: 'events',
    batch: [
      attempt({ helo: undefined, sender: undefined, recipients: [], verdictMs: undefined, relayMs: undefined }),
      attempt({ findings: [{ filter: 'gtube', name: 'gtube', score: -1.5, evidence: 'x' }], recipientsOmitted: 4 }),
      counts({ upstream: [{ server: 'smtp.example.net:587', up: false, connections: 0, reason: 'refused' }] }),
    ],
  },
  { kind: 'admit', asks: [{ ask: 1, source: '198.51.100.7', limit: 200 }] },
  {
    kind: 'release',
    sources: [
      { source: '198.51.100.7', count: 1 },
      { source: '2001:db8:1:2::/64', count: 7 },
    ],
  },
  { kind: 'returned', of: 'connections', recall: 1 },
  {
    kind: 'take',
    asks: [
      {
        ask: 1,
        needs: [
          { subject: '@web-1', rule, count: 1 },
          { subject: '@web-1', rule, count: 1, value: 'x' },
        ],
      },
    ],
  },
  { kind: 'back', items: [{ subject: '@web-1', rule, start: 0, count: 3 }] },
  { kind: 'spent', needs: [{ subject: '@web-1', rule, count: 1 }] },
  { kind: 'ask', ask: 6, question: { of: 'counters', subject: '@web-1' } },
  { kind: 'hold', sources: [{ source: '198.51.100.7', count: 3 }] },
  {
    kind: 'kernel',
    report: kernelReport({
      refused: [{ network: 'unrouted', reason: 'unrouted', packets: 9 }],
      inside: [{ interface: 'lna0', present: false }],
      workers: [{ worker: 2, answeredMs: undefined, failures: 3 }],
    }),
  },
  { kind: 'ask', ask: 1, question: { of: 'status' } },
  { kind: 'ask', ask: 2, question: { of: 'locks' } },
  {
    kind: 'ask',
    ask: 3,
    question: {
      of: 'lock',
      lock: { subject: '198.51.100.7/32', how: 'reject', reason: 'r', who: 'w', until: undefined },
    },
  },
  { kind: 'ask', ask: 4, question: { of: 'unlock', subject: '198.51.100.7/32', who: 'w' } },
  { kind: 'ask', ask: 7, question: { of: 'steps' } },
  {
    kind: 'ask',
    ask: 8,
    question: { of: 'step', step: { subject: '@web-1', mode: 'block', reason: 'r', who: 'w', until: 7 } },
  },
  { kind: 'ask', ask: 9, question: { of: 'step-back', subject: 'network:customers', who: 'w' } },
  { kind: 'ask', ask: 10, question: { of: 'step-history', limit: 10 } },
  { kind: 'ask', ask: 5, question: { of: 'log', filter: { since: 1, sender: 'a@b.example', limit: 10 } } },
];
const fromKeeper: readonly FromKeeper[] = [
  { kind: 'locks', locks: [] },
  {
    kind: 'locks',
    locks: [
      { ...lock, until: undefined },
      { ...lock, until: 2 },
    ],
  },
  {
    kind: 'steps',
    steps: [
      { subject: '@web-1', mode: 'smarthost-only', reason: 'r', who: 'w', since: 1, until: 2, evidence: ['a'] },
      { subject: '198.51.100.7', mode: 'exempt', reason: 'r', who: 'w', since: 1, until: undefined },
    ],
  },
  {
    kind: 'admitted',
    answers: [
      { ask: 1, ok: true },
      { ask: 2, ok: false },
    ],
  },
  { kind: 'recall', of: 'connections', recall: 1, sources: ['198.51.100.7'] },
  { kind: 'recall', of: 'limits', recall: 2 },
  {
    kind: 'taken',
    answers: [
      { ask: 1, ok: true, leases: [{ count: 3, start: 0, until: 1, left: -2 }] },
      { ask: 2, ok: false, over: 0, retryMs: 1.5 },
    ],
  },
  { kind: 'answer', ask: 1, ok: true, value: { any: ['thing'] } },
  { kind: 'answer', ask: 1, ok: true, value: null },
  { kind: 'answer', ask: 1, ok: false, error: 'no' },
];

/** Every path to a value inside, so that each can be spoilt in turn. */
function* paths(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  if (path.length > 0) yield path;
  if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) yield* paths(inner, [...path, key]);
  }
}

function spoil(value: unknown, path: readonly string[], to: unknown): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[path.at(-1) as string] = to;
  return copy;
}

test('everything the roles say is understood', () => {
  for (const message of toKeeper) assert.ok(checkToKeeper(throughJson(message)), JSON.stringify(message));
  for (const message of fromKeeper) assert.ok(checkFromKeeper(throughJson(message)), JSON.stringify(message));
});

test('a value of the wrong kind, too long, or one key too many, anywhere, is refused', () => {
  let cases = 0;
  for (const [check, messages] of [
    [checkToKeeper, toKeeper],
    [checkFromKeeper, fromKeeper],
  ] as const) {
    for (const message of messages.map(throughJson)) {
      for (const path of paths(message)) {
        if (path[0] === 'value' || path.includes('opened')) continue;
        for (const bad of [{ strange: 1 }, 'x'.repeat(2000), null, -1.5]) {
          if (bad === -1.5 && path.at(-1) === 'score') continue;
          cases++;
          assert.equal(
            check(spoil(message, path, bad)),
            undefined,
            `${JSON.stringify(path)} = ${JSON.stringify(bad).slice(0, 20)}`,
          );
        }
      }
      assert.equal(check({ ...(message as object), extra: 1 }), undefined);
      assert.equal(check([message]), undefined);
    }
  }
  assert.ok(cases > 500, `${cases} cases`);
});

test('lists and maps have bounds', () => {
  const many = (n: number): object[] => Array.from({ length: n }, () => ({ source: '198.51.100.7', count: 1 }));
  assert.ok(checkToKeeper({ kind: 'release', sources: many(1000) }));
  assert.equal(checkToKeeper({ kind: 'release', sources: many(1001) }), undefined);
  const opened = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`n${i}`, 1]));
  assert.equal(checkToKeeper({ kind: 'events', batch: [counts({ opened })] }), undefined);
  assert.equal(checkToKeeper({ kind: 'events', batch: [counts({ opened: { ['n'.repeat(300)]: 1 } })] }), undefined);
});

test('another version, an unknown kind, a class that is not in the table are refused', () => {
  assert.equal(checkToKeeper({ kind: 'hello', v: 1, role: 'cli' }), undefined);
  assert.equal(checkToKeeper({ kind: 'toString' }), undefined);
  assert.equal(checkToKeeper({ kind: '__proto__' }), undefined);
  assert.equal(
    checkToKeeper(throughJson({ kind: 'events', batch: [{ ...attempt(), class: 'spam.unheard-of' }] })),
    undefined,
  );
  assert.equal(checkToKeeper(throughJson({ kind: 'events', batch: [attempt({ at: 9e15 })] })), undefined, 'no Date');
  assert.equal(checkToKeeper(JSON.parse('{"kind":"release","sources":[],"__proto__":{}}')), undefined);
});

test('no JSON whatever makes the check throw', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...toKeeper.map((m) => m.kind), 'locks', 'answer'), (value, kind) => {
      checkToKeeper(value);
      checkFromKeeper(value);
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        checkToKeeper({ ...value, kind });
        checkFromKeeper({ ...value, kind });
      }
    }),
    { seed, numRuns: 500 },
  );
});
