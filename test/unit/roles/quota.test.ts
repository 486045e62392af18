/** Earned quota over 30 days at a test's clock: two workers and a real keeper, each limit used to its last recipient. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { command as explain } from '../../../src/cli/explain.ts';
import type { Ledger } from '../../../src/ledger/client.ts';
import type { Quota, Whose } from '../../../src/ledger/language.ts';
import { limitsOf } from '../../../src/identity/limits.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { type TestClock, testClock } from '../../kit/clock.ts';
import { runCommand } from '../../kit/io.ts';
import { configIn, makePlace, type Stage, stageKeeper } from '../../kit/keeper.ts';
import { attempt } from '../ledger/sample.ts';

const DAY_MS = 86_400_000;
const HOST = '198.51.100.7';
const NETWORKS = `[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
limit_recipients = ["1000/day"]
quota = "earned"
`;

let s: Stage;
afterEach(() => s.close());

async function start(clock: TestClock, place = makePlace()): Promise<Ledger[]> {
  place.write({ networks: NETWORKS });
  s = await stageKeeper(clock, place);
  const workers = [s.worker(1, 'defer'), s.worker(2, 'defer')];
  await Promise.all(workers.map(({ ready }) => ready));
  return workers;
}

async function rulesOf(): Promise<readonly Parameters<Ledger['take']>[0][number][]> {
  const { network } = await configIn(s.place);
  const limits = limitsOf(network[0] as (typeof network)[number]);
  return (limits?.recipient ?? []).map((rule) => ({ subject: HOST, rule, count: 1 }));
}

const whose = async (): Promise<Whose> => (await s.ask({ of: 'whose', subject: HOST })) as Whose;
const quota = async (): Promise<Quota> => (await whose()).quota as Quota;

/** Recipients that are let through on one day, of 20 more than there can be; how often each worker is asked in a turn is uneven. */
async function allowed(workers: readonly Ledger[]): Promise<number> {
  const needs = await rulesOf();
  let taken = 0;
  for (let at = 0; at < 1020; at += 34) {
    const some = Array.from({ length: 34 }, async (_, i) => {
      const worker = workers[i % 5 === 0 ? 1 : 0] as Ledger;
      let answer = await worker.take(needs, 0);
      // The machine was too busy to answer in time: nothing was counted.
      while (answer === 'away') answer = await worker.take(needs, 0);
      return answer;
    });
    for (const answer of await Promise.all(some)) if (answer === 'ok') taken++;
  }
  return taken;
}

const good = { recipient: '<b@b.example>', code: 250, class: 'accepted.clean' } as const;
const unknown = { recipient: '<x@b.example>', code: 550, class: 'upstream.reply' } as const;
const times = <T>(count: number, what: T): T[] => Array.from({ length: count }, () => what);

/** What a day was like: 100 recipients, and what was wrong with them. */
const DAYS: Readonly<Record<string, readonly Partial<Attempt>[]>> = {
  clean: [{ recipients: times(100, good) }],
  // Put off is not refused.
  deferred: [{ recipients: times(99, good) }, { recipients: [good], verdict: 'defer', class: 'limit.messages' }],
  fewUnknown: [{ recipients: [...times(91, good), ...times(9, unknown)] }],
  manyUnknown: [{ recipients: [...times(90, good), ...times(10, unknown)] }],
  bounced: times(10, { recipients: times(10, good), verdict: 'reject', class: 'upstream.reply' } as const),
  blocked: times(10, { recipients: times(10, good), verdict: 'reject', class: 'spam.gtube' } as const),
  observed: times(10, { recipients: times(10, good), class: 'accepted.observed', wouldBe: 'spam.score' } as const),
  idle: [],
};
/** What the day was, and how many recipients it had let through. */
const MONTH: readonly (readonly [day: string, allowed: number])[] = [
  ['clean', 50],
  ['clean', 100],
  ['deferred', 200],
  ['fewUnknown', 400],
  ['clean', 800],
  ['clean', 1000],
  ['manyUnknown', 1000],
  ['clean', 500],
  ['blocked', 1000],
  ['observed', 500],
  ['bounced', 250],
  ['manyUnknown', 125],
  ['idle', 62],
  ['idle', 62],
  ['clean', 62],
  ['blocked', 124],
  ...times(5, ['manyUnknown', 0] as const).map(([day], i) => [day, [62, 31, 15, 7, 3][i] as number] as const),
  ['manyUnknown', 1],
  ['manyUnknown', 1],
  ['clean', 1],
  ['clean', 2],
  ['clean', 4],
  ['clean', 8],
  ['clean', 16],
  ['idle', 32],
  ['clean', 32],
];

test('30 days: twice as much after a clean day, half after a bad one, and each step says why', async () => {
  const clock = testClock();
  clock.forward(DAY_MS - (clock.nowMs() % DAY_MS) + 3_600_000);
  const workers = await start(clock);
  assert.equal(MONTH.length, 30);
  let before: number | undefined;
  const expectedSteps: [from: number, to: number][] = [];
  for (const [i, [day, expected]] of MONTH.entries()) {
    const isUsed = day !== 'idle';
    if (isUsed) assert.equal(await allowed(workers), expected, `day ${i + 1}, ${day}`);
    if (isUsed && before !== undefined && before !== expected) expectedSteps.push([before, expected]);
    if (isUsed) before = expected;
    const attempts = DAYS[day] ?? [];
    for (const [n, change] of attempts.entries())
      workers[n % 2]?.record(attempt({ source: HOST, subscriber: undefined, at: clock.nowMs(), ...change }));
    const asked = attempts.reduce((sum, one) => sum + (one.recipients?.length ?? 0), 0);
    while ((await quota()).day.asked < asked);
    clock.forward(DAY_MS);
  }
  const { steps } = await quota();
  assert.deepEqual(
    steps.map(({ from, to }) => [from, to]),
    [...expectedSteps, [32, 64]],
  );
  assert.deepEqual(
    s.log.entries.filter(({ event }) => event === 'quota.step').map(({ fields }) => [fields['from'], fields['to']]),
    [...expectedSteps, [32, 64]],
  );
  const { out } = await runCommand(explain, [HOST, '--run-dir', s.place.runDir]);
  assert.match(out, /^198\.51\.100\.7 is counted as 198\.51\.100\.7, in network customers\.$/m);
  assert.match(out, /^Quota: 64 recipients a day, of at most 1000\.\nToday: 0 recipients, /m);
  assert.match(
    out,
    / 1000 -> 500 +a bad day: of 100 recipients the far side refused 10, and 0 messages; 0 refused here$/m,
  );
  assert.match(out, / 50 -> 100 +a clean day: of 100 recipients /);
});

test('what was earned survives a keeper that ends, and a stranger begins at the start', async () => {
  const clock = testClock();
  const place = makePlace();
  const workers = await start(clock, { ...place, remove() {} });
  assert.equal(await allowed(workers), 50);
  workers[0]?.record(attempt({ source: HOST, subscriber: undefined, at: clock.nowMs(), recipients: [good] }));
  while ((await quota()).day.asked < 1);
  clock.forward(DAY_MS);
  assert.equal((await quota()).quota, 100);
  await s.close();
  s = await stageKeeper(clock, place);
  const again = s.worker(1, 'defer');
  await again.ready;
  assert.equal(await allowed([again, again]), 100);
  const [need] = await rulesOf();
  assert.ok(need);
  const stranger = await again.take([{ ...need, subject: '198.51.100.8', count: 51 }], 0);
  assert.ok(typeof stranger === 'object' && stranger.retryMs > 0);
});
