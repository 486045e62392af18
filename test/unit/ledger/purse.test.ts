/** What a worker counts while nobody can be asked: bounded, told once, and only what still counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Need } from '../../../src/ledger/counters.ts';
import type { ToKeeper } from '../../../src/ledger/language.ts';
import { Purse } from '../../../src/ledger/purse.ts';
import { testClock } from '../../kit/clock.ts';

const MOST = 50_000;

function stage(say: (message: ToKeeper) => boolean = () => true) {
  const said: ToKeeper[] = [];
  const clock = testClock();
  const purse = new Purse(
    { workers: 2, keeperFailure: 'local' },
    (message) => {
      const isSaid = say(message);
      if (isSaid) said.push(message);
      return isSaid;
    },
    clock,
  );
  const spent = (): Need[] => said.flatMap((one) => (one.kind === 'spent' ? one.needs : []));
  const back = (): number => said.reduce((sum, one) => sum + (one.kind === 'back' ? one.items.length : 0), 0);
  const asks = (): number[] => said.flatMap((one) => (one.kind === 'take' ? one.asks.map(({ ask }) => ask) : []));
  return { purse, clock, spent, back, asks };
}

const need = (subject: string, period: 'day' | 'minute' = 'day'): Need => ({
  subject,
  rule: { unit: 'messages', period, limit: 100 },
  count: 1,
});

test('the same subject is told as one sum, and of any number of subjects at most so many', () => {
  const { purse, spent } = stage();
  for (let i = 0; i < 20; i++) assert.equal(purse.take([need('@web-1')], 0, false), 'ok');
  purse.tellAlone();
  assert.deepEqual(spent(), [{ ...need('@web-1'), count: 20 }]);
  for (let i = 0; i < MOST + 5_000; i++) void purse.take([need(`@web-1 user-${i}`)], 0, false);
  purse.tellAlone();
  assert.equal(spent().length - 1, MOST);
});

test('what could not be said is told the next time, and nothing of it twice', () => {
  let room = 1;
  const { purse, spent } = stage(() => room-- > 0);
  for (let i = 0; i < 3_000; i++) void purse.take([need(`@web-${i}`)], 0, false);
  purse.tellAlone();
  const first = spent().length;
  assert.ok(first > 0 && first < 3_000, `${first}`);
  room = Infinity;
  purse.tellAlone();
  assert.equal(spent().length, 3_000);
  assert.equal(new Set(spent().map(({ subject }) => subject)).size, 3_000);
});

test('what is not used after all was never counted; of a window that has ended nothing is told', () => {
  const { purse, clock, spent, back } = stage();
  for (let i = 0; i < 5; i++) void purse.take([need('@web-1')], 0, false);
  for (let i = 0; i < 3; i++) purse.giveBack([need('@web-1')], clock.nowMs());
  void purse.take([need('@web-2', 'minute')], 0, false);
  clock.forward(120_000);
  purse.tellAlone();
  assert.deepEqual(spent(), [{ ...need('@web-1'), count: 2 }]);
  assert.equal(back(), 0);
});

test('what is given back while the keeper is away waits, and not without a bound', () => {
  const { purse, clock, back } = stage();
  for (let i = 0; i < MOST + 5_000; i++) purse.giveBack([need(`@web-${i}`)], clock.nowMs());
  purse.sendBack();
  assert.equal(back(), MOST);
});

test('a keeper that is slow and stays: what it counts late is counted once, and what it does not is told', async () => {
  const { purse, spent, back, asks } = stage();
  const taken = () => purse.take([need('@web-1')], 0, true);
  const lease = { count: 0, start: 0, until: Number.MAX_SAFE_INTEGER, left: 9 };
  // Answered after the 250 ms: the keeper's count stands for the one that was made here.
  assert.equal(await taken(), 'ok');
  purse.answered({ ask: asks()[0] ?? 0, ok: true, leases: [lease] });
  purse.tellAlone();
  purse.sendBack();
  assert.deepEqual([spent(), back()], [[], 0]);
  // Told in the meantime: the keeper has it twice, and one goes back.
  assert.equal(await taken(), 'ok');
  purse.tellAlone();
  purse.answered({ ask: asks()[1] ?? 0, ok: true, leases: [{ ...lease, start: dayStart() }] });
  purse.recalled(1, undefined);
  assert.deepEqual([spent(), back()], [[need('@web-1')], 1]);
  // A no that comes too late: it has happened, and is told before anybody is refused for it.
  assert.equal(await taken(), 'ok');
  purse.answered({ ask: asks()[2] ?? 0, ok: false, over: 0, retryMs: 1 });
  purse.recalled(2, ['@web-1']);
  assert.deepEqual([spent().length, back()], [2, 1]);
});

function dayStart(): number {
  const now = Date.now();
  return now - (now % 86_400_000);
}
