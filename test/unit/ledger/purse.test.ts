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
  return { purse, clock, spent, back };
}

const need = (subject: string, period: 'day' | 'minute' = 'day'): Need => ({
  subject,
  rule: { unit: 'messages', period, limit: 100 },
  count: 1,
});

test('the same subject is told as one sum, and of any number of subjects at most so many', () => {
  const { purse, spent } = stage();
  for (let i = 0; i < 20; i++) assert.equal(purse.take([need('@web-1')], 0, false), 'ok');
  purse.up();
  assert.deepEqual(spent(), [{ ...need('@web-1'), count: 20 }]);
  for (let i = 0; i < MOST + 5_000; i++) void purse.take([need(`@web-1 user-${i}`)], 0, false);
  purse.up();
  assert.equal(spent().length - 1, MOST);
});

test('what could not be said is told the next time, and nothing of it twice', () => {
  let room = 1;
  const { purse, spent } = stage(() => room-- > 0);
  for (let i = 0; i < 3_000; i++) void purse.take([need(`@web-${i}`)], 0, false);
  purse.up();
  const first = spent().length;
  assert.ok(first > 0 && first < 3_000, `${first}`);
  room = Infinity;
  purse.up();
  assert.equal(spent().length, 3_000);
  assert.equal(new Set(spent().map(({ subject }) => subject)).size, 3_000);
});

test('what is not used after all was never counted; of a window that has ended nothing is told', () => {
  const { purse, clock, spent, back } = stage();
  for (let i = 0; i < 5; i++) void purse.take([need('@web-1')], 0, false);
  for (let i = 0; i < 3; i++) purse.giveBack([need('@web-1')], clock.nowMs());
  void purse.take([need('@web-2', 'minute')], 0, false);
  clock.forward(120_000);
  purse.up();
  assert.deepEqual(spent(), [{ ...need('@web-1'), count: 2 }]);
  assert.equal(back(), 0);
});

test('what is given back while the keeper is away waits, and not without a bound', () => {
  const { purse, clock, back } = stage();
  for (let i = 0; i < MOST + 5_000; i++) purse.giveBack([need(`@web-${i}`)], clock.nowMs());
  purse.sendBack();
  assert.equal(back(), MOST);
});
