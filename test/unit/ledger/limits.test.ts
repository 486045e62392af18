/** Limits over several workers and the keeper, over the real socket: exact, and without a question far from the limit. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { Ledger, Need, Taken } from '../../../src/ledger/client.ts';
import type { Count } from '../../../src/ledger/counters.ts';
import { type FromKeeper, VERSION } from '../../../src/ledger/language.ts';
import type { Rule } from '../../../src/policy/limits.ts';
import { testClock } from '../../kit/clock.ts';
import { makePlace, type Stage, stageKeeper } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';

let s: Stage;
afterEach(() => s.close());

const daily = (limit: number): Rule => ({ unit: 'messages', period: 'day', limit });
const one = (rule: Rule, subject = '@web-1'): Need[] => [{ subject, rule, count: 1 }];
const isOk = (taken: Taken): boolean => taken === 'ok';

async function workers(count: number): Promise<Ledger[]> {
  const all = Array.from({ length: count }, (_, i) => s.worker(i + 1));
  await Promise.all(all.map(({ ready }) => ready));
  return all;
}

async function used(subject = '@web-1'): Promise<number[]> {
  const counts = (await s.ask({ of: 'counters', subject })) as readonly Count[];
  return counts.map((count) => count.used);
}

test('with 2 workers a limit of 100 lets exactly 100 through, however many ask at once', async () => {
  s = await stageKeeper();
  const both = await workers(2);
  for (const together of [1, 7, 150]) {
    const subject = `@at-once-${together}`;
    const answers: boolean[] = [];
    while (answers.length < 300) {
      const some = Array.from({ length: together }, (_, i) =>
        Promise.resolve((both[i % 2] as Ledger).take(one(daily(100), subject), 0)),
      );
      answers.push(...(await Promise.all(some)).map(isOk));
    }
    assert.equal(answers.filter(Boolean).length, 100, `${together} at once`);
    assert.deepEqual(await used(subject), [100]);
  }
});

test('what is given back can be had by the other worker at once', async () => {
  s = await stageKeeper();
  const [a, b] = (await workers(2)) as [Ledger, Ledger];
  const need = one(daily(10));
  for (let i = 0; i < 10; i++) assert.equal(await a.take(need, 0), 'ok');
  assert.equal(isOk(await b.take(need, 0)), false);
  a.giveBack(need, Date.now());
  while ((await used())[0] !== 9);
  assert.equal(await b.take(need, 0), 'ok');
  assert.equal(isOk(await a.take(need, 0)), false);
});

test('what a worker holds and does not use is not shown as used, also when the worker is slow to give it back', async () => {
  s = await stageKeeper();
  const slow = await s.speaker({ kind: 'hello', v: VERSION, role: 'worker', worker: 1 });
  const next = async <K extends FromKeeper['kind']>(kind: K): Promise<FromKeeper & { readonly kind: K }> => {
    for (;;) {
      const message = await slow.got.next();
      if (message.kind === kind) return message as FromKeeper & { readonly kind: K };
    }
  };
  const [need] = one(daily(1000)) as [Need];
  slow.peer.send({ kind: 'take', asks: [{ ask: 1, needs: [need] }] });
  const [answer] = (await next('taken')).answers;
  assert.ok(answer?.ok && (answer.leases[0]?.count ?? 0) > 0);
  const shown = used();
  await next('recall');
  const { recall } = await next('recall');
  const { count, start } = answer.leases[0] as { count: number; start: number };
  slow.peer.send({ kind: 'back', items: [{ subject: need.subject, rule: need.rule, start, count }] });
  slow.peer.send({ kind: 'returned', of: 'limits', recall });
  assert.deepEqual(await shown, [1]);
});

test('far from the limit most are granted without a question', async () => {
  s = await stageKeeper();
  const [a] = (await workers(2)) as [Ledger, Ledger];
  let asked = 0;
  for (let i = 0; i < 1000; i++) {
    const taken = a.take(one(daily(100_000)), 0);
    if (taken instanceof Promise) asked++;
    assert.equal(await taken, 'ok');
  }
  assert.ok(asked <= 2, `${asked} questions for 1,000 messages`);
  assert.deepEqual(await used(), [1000]);
});

test('several needs of several subjects: the one that is over is named, and nothing of the others is used', async () => {
  s = await stageKeeper();
  const both = await workers(2);
  const needs = [...one(daily(1000)), ...one(daily(3), '@web-1 bob')];
  const answers: Taken[] = [];
  for (let i = 0; i < 8; i++) answers.push(await (both[i % 2] as Ledger).take(needs, 0));
  assert.equal(answers.filter(isOk).length, 3);
  for (const answer of answers.slice(3)) assert.equal((answer as { over: Need }).over.subject, '@web-1 bob');
  assert.deepEqual([await used(), await used('@web-1 bob')], [[3], [3]]);
});

test('the first time, and each n-th after, is told with who and what', async () => {
  s = await stageKeeper();
  const [a] = (await workers(1)) as [Ledger];
  for (let i = 0; i < 202; i++) await a.take(one(daily(1)), 0);
  const told = s.log.entries.filter(({ event }) => event === 'limit.reached');
  assert.deepEqual(
    told.map(({ fields }) => fields),
    [1, 101, 201].map((times) => ({ subject: '@web-1', unit: 'messages', period: 'day', limit: 1, times })),
  );
});

test('an identity over its limit is told of, and its name is not', async () => {
  s = await stageKeeper();
  const [a] = (await workers(1)) as [Ledger];
  for (let i = 0; i < 2; i++) await a.take(one(daily(1), '@web-1 bob@example.com'), 0);
  const [told] = s.log.entries.filter(({ event }) => event === 'limit.reached');
  const rest = { unit: 'messages', period: 'day', limit: 1, times: 1 };
  assert.deepEqual(told?.fields, { subject: '@web-1', ofIdentity: true, ...rest });
});

test('slow is said from the part of the limit on that it is asked for', async () => {
  s = await stageKeeper();
  const [a] = (await workers(1)) as [Ledger];
  const answers: Taken[] = [];
  for (let i = 0; i < 10; i++) answers.push(await a.take(one(daily(10)), 0.8));
  assert.deepEqual(answers, [...Array<Taken>(7).fill('ok'), ...Array<Taken>(3).fill('slow')]);
});

test('limits survive a restart of the keeper, to the message', async () => {
  const place = makePlace();
  const clock = testClock();
  s = await stageKeeper(clock, { ...place, remove() {} });
  const [a, b] = (await workers(2)) as [Ledger, Ledger];
  for (let i = 0; i < 60; i++) await (i % 2 ? a : b).take(one(daily(100)), 0);
  const before = s;
  await before.keeper.close();
  await until(() => !a.isUp() && !b.isUp(), 'the workers notice');
  s = await stageKeeper(clock, place);
  await until(() => a.isUp() && b.isUp(), 'the workers are back');
  let through = 60;
  for (let i = 0; i < 60; i++) if (isOk(await (i % 2 ? a : b).take(one(daily(100)), 0))) through++;
  assert.equal(through, 100);
  clock.forward(86_400_000);
  assert.equal(await a.take(one(daily(100)), 0), 'ok');
  await before.close().catch(() => {});
});

test('while the keeper is away a worker counts its own share, and tells it when the keeper is back', async () => {
  const place = makePlace();
  s = await stageKeeper(undefined, { ...place, remove() {} });
  const first = s;
  const [a] = (await workers(1)) as [Ledger];
  await first.keeper.close();
  await until(() => !a.isUp(), 'the worker notices');
  const answers: boolean[] = [];
  for (let i = 0; i < 30; i++) answers.push(isOk(await a.take(one(daily(20)), 0)));
  assert.equal(answers.filter(Boolean).length, 10, 'half of 20, as there are 2 workers');
  s = await stageKeeper(undefined, place);
  await until(() => a.isUp(), 'the worker is back');
  while ((await used()).length === 0);
  assert.deepEqual(await used(), [10]);
  await first.close().catch(() => {});
});
