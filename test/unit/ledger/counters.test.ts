/** What is counted, by the hour that the test says it is; and what of it outlives the keeper. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { CounterFile } from '../../../src/ledger/counterfile.ts';
import { Counters, type Need } from '../../../src/ledger/counters.ts';
import type { Rule } from '../../../src/policy/limits.ts';
import { logbook } from '../../kit/logbook.ts';
import { seed } from '../../kit/tier.ts';

const NOON = Date.parse('2024-02-29T12:00:00Z');
const MINUTE = 60_000;
const DAY = 86_400_000;
const rule = (unit: Rule['unit'], period: Rule['period'], limit: number): Rule => ({ unit, period, limit });
const need = (of: Rule, count = 1, value?: string): Need => ({
  subject: '@web-1',
  rule: of,
  count,
  ...(value !== undefined && { value }),
});
/** How many of these are taken one after the other, nothing beyond the need. */
function takes(counters: Counters, needs: readonly Need[], nowMs: number): number {
  let taken = 0;
  while (taken < 10_000 && !('over' in counters.take(needs, nowMs, 0))) taken++;
  return taken;
}

test('a bucket can be used at once and fills evenly; how long to wait is said exactly', () => {
  const counters = new Counters();
  const hourly = [need(rule('messages', 'hour', 60))];
  assert.equal(takes(counters, hourly, NOON), 60);
  assert.deepEqual(counters.take(hourly, NOON, 0), { over: 0, retryMs: MINUTE });
  assert.equal(takes(counters, hourly, NOON + MINUTE - 1), 0);
  assert.equal(takes(counters, hourly, NOON + MINUTE), 1);
  assert.equal(takes(counters, hourly, NOON + 11 * MINUTE), 10);
  assert.equal(takes(counters, hourly, NOON + DAY), 60, 'never more than all');
});

test('a window of the calendar begins anew at its end, not before', () => {
  const counters = new Counters();
  const daily = [need(rule('messages', 'day', 3))];
  assert.equal(takes(counters, daily, NOON), 3);
  assert.deepEqual(counters.take(daily, NOON, 0), { over: 0, retryMs: DAY / 2 });
  assert.equal(takes(counters, daily, NOON + DAY / 2 - 1), 0);
  assert.equal(takes(counters, daily, NOON + DAY / 2), 3);
});

test('a clock that was set back gives nothing again', () => {
  const counters = new Counters();
  const both = [need(rule('messages', 'day', 3)), need(rule('messages', 'hour', 3))];
  assert.equal(takes(counters, both, NOON), 3);
  assert.equal(takes(counters, both, NOON - DAY), 0);
});

test('different ones are counted once each, and none beyond the limit is remembered', () => {
  const changes: unknown[] = [];
  const counters = new Counters((change) => changes.push(change));
  const domains = rule('domains', 'hour', 2);
  const ask = (value: string): boolean => !('over' in counters.take([need(domains, 1, value)], NOON, 2));
  assert.deepEqual(['a', 'b', 'a', 'c', 'b'].map(ask), [true, true, true, false, true]);
  assert.equal(changes.length, 2);
  assert.equal(counters.list('@web-1', NOON)[0]?.used, 2);
  assert.equal(!('over' in counters.take([need(domains, 1, 'c')], NOON + 60 * MINUTE, 2)), true);
});

test('those that are counted already leave room for one more, asked for together or not', () => {
  const counters = new Counters();
  const two = rule('domains', 'day', 2);
  assert.ok(!('over' in counters.take([need(two, 1, 'a')], NOON, 0)));
  assert.ok(!('over' in counters.take([need(two, 1, 'a'), need(two, 1, 'b')], NOON, 0)));
  assert.ok(!('over' in counters.take([need(two, 1, 'b'), need(two, 1, 'a')], NOON, 0)));
  assert.deepEqual(counters.take([need(two, 1, 'a'), need(two, 1, 'c')], NOON, 0), { over: 1, retryMs: DAY / 2 });
});

test('all needs or none: what is over leaves the others as they were, and is named', () => {
  const counters = new Counters();
  const needs = [need(rule('messages', 'hour', 10)), need(rule('recipients', 'day', 1))];
  assert.ok(!('over' in counters.take(needs, NOON, 0)));
  assert.equal((counters.take(needs, NOON, 0) as { over: number }).over, 1);
  assert.deepEqual(
    counters.list('@web-1', NOON).map(({ unit, used }) => [unit, used]),
    [
      ['messages', 1],
      ['recipients', 1],
    ],
  );
});

test('a limit of none lets none through; a raised one keeps what is used', () => {
  const counters = new Counters();
  assert.equal(takes(counters, [need(rule('messages', 'day', 0))], NOON), 0);
  assert.equal(takes(counters, [need(rule('messages', 'day', 5))], NOON), 5);
  assert.equal(takes(counters, [need(rule('messages', 'day', 7))], NOON), 2);
});

test('however it is taken, held and given back: never beyond the limit, and what is not held can be had', () => {
  const step = fc.record({
    do: fc.constantFrom('take', 'take', 'take', 'back', 'later'),
    count: fc.integer({ min: 1, max: 5 }),
    workers: fc.nat(3),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 100 }),
      fc.constantFrom('day', 'month'),
      fc.integer({ min: 1, max: 60 }),
      (steps, period, limit) => {
        const counters = new Counters();
        const of = rule('messages', period, limit);
        let held = 0;
        let now = NOON;
        for (const { do: what, count, workers } of steps) {
          if (what === 'take') {
            const got = counters.take([need(of, count)], now, workers);
            if ('over' in got) assert.ok(held + count > limit);
            else held += count + (got[0]?.count ?? 0);
          } else if (what === 'back') {
            const back = Math.min(count, held);
            counters.giveBack('@web-1', of, Date.parse(period === 'day' ? '2024-02-29' : '2024-02-01'), back, now);
            held -= back;
          } else now += 1000;
          assert.ok(held <= limit);
          assert.equal(counters.list('@web-1', now)[0]?.used ?? 0, held);
        }
      },
    ),
    { seed },
  );
});

test('what is given back of a window that has ended counts nowhere', () => {
  const counters = new Counters();
  const daily = rule('messages', 'day', 5);
  counters.take([need(daily, 5)], NOON, 0);
  counters.take([need(daily, 4)], NOON + DAY, 0);
  counters.giveBack('@web-1', daily, Date.parse('2024-02-29'), 3, NOON + DAY);
  assert.equal(counters.list('@web-1', NOON + DAY)[0]?.used, 4);
});

const dir = mkdtempSync(join(tmpdir(), 'postern-counters-'));
after(() => rmSync(dir, { recursive: true }));
let files = 0;

const used = (file: CounterFile, nowMs: number): unknown[] =>
  file.counters
    .list('@web-1', nowMs)
    .map(({ unit, period, used: of }) => `${unit}/${period} ${of}`)
    .sort();

test('a keeper that is killed finds what it had granted; one that has ended too, in a short file', () => {
  const path = join(dir, `${++files}`);
  const log = logbook();
  const first = new CounterFile(path, log, NOON);
  for (let i = 0; i < 50; i++)
    first.counters.take([need(rule('messages', 'day', 100)), need(rule('messages', 'hour', 100))], NOON, 0);
  for (const value of ['a', 'b', 'a']) first.counters.take([need(rule('domains', 'week', 9), 1, value)], NOON, 0);
  first.write();
  const expected = ['domains/week 2', 'messages/day 50', 'messages/hour 50'];
  const killed = new CounterFile(path, log, NOON);
  assert.deepEqual(used(killed, NOON), expected);
  killed.close();
  assert.equal(readFileSync(path, 'utf8').trim().split('\n').length, 4);
  // Half an hour later the hour's bucket is half as full, and at midnight the day is over.
  assert.deepEqual(used(new CounterFile(path, log, NOON), NOON + 30 * MINUTE), ['domains/week 2', 'messages/day 50']);
  assert.deepEqual(log.entries, []);
});

test('a line that was cut, and lines that are none, cost themselves alone and are told of', () => {
  const path = join(dir, `${++files}`);
  const log = logbook();
  const first = new CounterFile(path, log, NOON);
  first.counters.take([need(rule('messages', 'day', 100), 7)], NOON, 0);
  first.write();
  appendFileSync(path, '{"subject":"@web-1","unit":"mess\n[]\n{"subject":1}\n');
  assert.deepEqual(used(new CounterFile(path, log, NOON), NOON), ['messages/day 7']);
  assert.deepEqual(log.events(), ['counters.damaged']);
});

test('what workers let through while nobody could be asked is counted beyond the limit too, and no more than as much again', () => {
  const counters = new Counters();
  const domains = rule('domains', 'day', 3);
  for (const value of ['a', 'b', 'c']) counters.take([need(domains, 1, value)], NOON, 0);
  counters.spend([need(domains, 1, 'd'), need(domains, 1, 'a')], NOON);
  assert.deepEqual(
    counters.list('@web-1', NOON).map((one) => one.used),
    [4],
  );
  for (let i = 0; i < 20; i++) counters.spend([need(domains, 1, `x${i}`)], NOON);
  assert.deepEqual(
    counters.list('@web-1', NOON).map((one) => one.used),
    [6],
  );
});

test('where nothing can be written counting goes on, and it is told once', () => {
  const log = logbook();
  writeFileSync(join(dir, 'file'), '');
  const file = new CounterFile(join(dir, 'file/counters.jsonl'), log, NOON);
  assert.equal(takes(file.counters, [need(rule('messages', 'day', 3))], NOON), 3);
  file.write();
  file.tidy(NOON);
  file.tidy(NOON);
  assert.deepEqual(log.events(), ['counters.not-kept']);
});
