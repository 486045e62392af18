/** What is kept by names that hosts choose has an end, and whoever comes late is not the one who is forgotten. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { putLast } from '../../../src/kit/recent.ts';
import { Admitter } from '../../../src/ledger/admitter.ts';
import { Behaviours } from '../../../src/ledger/behaviours.ts';
import { Counters } from '../../../src/ledger/counters.ts';
import { History } from '../../../src/ledger/history.ts';
import { LockRules } from '../../../src/ledger/lockrules.ts';
import { OverNotices } from '../../../src/ledger/notices.ts';
import { Outbox } from '../../../src/ledger/outbox.ts';
import { Quotas } from '../../../src/ledger/quotas.ts';
import { StepRules } from '../../../src/ledger/steprules.ts';
import type { Rule } from '../../../src/policy/limits.ts';
import { BOUNDS } from '../../../src/record/events.ts';
import { logbook } from '../../kit/logbook.ts';
import { attempt } from './sample.ts';

const daily: Rule = { unit: 'messages', period: 'day', limit: 100 };

function directory(t: { after: (run: () => void) => void }): string {
  const made = mkdtempSync(join(tmpdir(), 'postern-bounds-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

test('a map of at most so many: the one that was put longest ago goes', () => {
  const map = new Map<string, number>();
  assert.deepEqual(
    ['a', 'b', 'a', 'c', 'd'].map((key, i) => putLast(map, key, i, 2)),
    [undefined, undefined, undefined, 'b', 'a'],
  );
  assert.deepEqual(
    [...map],
    [
      ['c', 3],
      ['d', 4],
    ],
  );
});

test('subjects of limits: 200,000', () => {
  const counters = new Counters();
  for (let i = 0; i < 200_050; i++) counters.take([{ subject: `s${i}`, rule: daily, count: 1 }], 0, 0);
  assert.equal(counters.subjects, 200_000);
  assert.deepEqual(counters.list('s0', 0), []);
  assert.equal(counters.list('s200049', 0)[0]?.used, 1);
});

test('subjects whose quota is earned: 200,000', (t) => {
  const quotas = new Quotas(join(directory(t), 'quotas.jsonl'), logbook());
  const earned = { start: 10, least: 1 } as unknown as NonNullable<Rule['earned']>;
  for (let i = 0; i < 200_050; i++) quotas.ruleFor(`s${i}`, { ...daily, earned }, 0);
  assert.equal(quotas.of('s0', 0), undefined);
  assert.equal(quotas.of('s200049', 0)?.quota, 10);
});

test('subjects that rules for locks and for steps watch: 100,000', () => {
  const base = { name: 'spam', classes: ['spam'], within: 60_000, networks: [] };
  const locks = new LockRules([{ ...base, count: 2, lock: 'subscriber' }]);
  const steps = new StepRules([{ ...base, share: 100, least: 2, of: 'subscriber', mode: 'block' }]);
  const bad = attempt({ class: 'spam.gtube', at: 1 });
  for (let i = 0; i <= 100_000; i++) {
    locks.seen(bad, `s${i}`);
    steps.seen(bad, `s${i}`);
  }
  for (const rules of [locks, steps]) {
    assert.equal(rules.seen(bad, 's100000').length, 1);
    assert.deepEqual(rules.seen(bad, 's0'), []);
  }
});

test('subscribers whose behaviour is remembered: 100,000, and 200,000 that are known', () => {
  const behaviours = new Behaviours(1000, 0);
  const one = attempt({ recipients: [] });
  for (let i = 0; i <= 100_000; i++) behaviours.attempt(`s${i}`, one, 1);
  assert.equal(behaviours.ask('s99999', '', 2).helos, 1);
  assert.equal(behaviours.ask('s100000', '', 2).helos, 0);
  assert.equal(behaviours.ask('never', '', 1300).isFirst, true);
  for (let i = 0; i < 100_000; i++) behaviours.attempt(`t${i}`, one, 1300);
  assert.equal(behaviours.ask('never', '', 1300).isFirst, false, 'who is not known may have been forgotten');
});

test('limits that somebody was told of: 100,000, then counting begins anew', () => {
  let told = 0;
  const notices = new OverNotices({ write: () => void told++ });
  const over = (subject: string): void => notices.over({ subject, rule: daily, count: 1 }, 1000);
  for (let i = 0; i <= 100_000; i++) over(`s${i}`);
  assert.equal(told, 100_001);
  over('s0');
  assert.equal(told, 100_002);
});

test('sources of which a worker keeps what is unused: 20,000', async () => {
  let back = 0;
  const admitter = new Admitter({ workers: 1, keeperFailure: 'local' }, (message) => {
    if (message.kind === 'admit') for (const { ask } of message.asks) setImmediate(() => admitter.answered(ask, true));
    if (message.kind === 'release') back += message.sources.length;
    return true;
  });
  const sources = Array.from({ length: 20_050 }, (_, i) => `s${i}`);
  await Promise.all(sources.map(async (source) => admitter.admit(source, 20, true)));
  for (const source of sources) admitter.release(source);
  admitter.sendReleases();
  assert.equal(back, 50);
});

test('what waits for the keeper: 32 MiB of large events, and the others are counted', () => {
  const outbox = new Outbox();
  const recipient = `<${'r'.repeat(BOUNDS.textLength - 20)}@b.example>`;
  const large = attempt({
    recipients: Array.from({ length: 500 }, () => ({ recipient, code: 250, class: 'accepted.clean' })),
  });
  for (let i = 0; i < 1000; i++) outbox.put(large);
  let octets = 0;
  outbox.flush((json) => (octets += json.length) > 0);
  assert.ok(octets > 16 * 2 ** 20 && octets < 33 * 2 ** 20, `${octets}`);
});

test('a history of orders: 10,000 after a start, and never twice as many', (t) => {
  const path = join(directory(t), 'history.jsonl');
  const options = {
    ...{ path, log: logbook(), failure: { event: 'x', effect: 'y' } },
    isEvent: (raw: unknown): raw is { n: number } => typeof (raw as { n: unknown }).n === 'number',
  };
  const history = new History<{ n: number }>(options);
  for (let n = 0; n < 20_001; n++) history.add({ n });
  const lines = readFileSync(path, 'utf8').split('\n').length - 1;
  assert.equal(lines, 10_001);
  assert.equal(history.list(Infinity).length, 10_001);
  assert.equal(new History<{ n: number }>(options).list(Infinity).length, 10_000);
});
