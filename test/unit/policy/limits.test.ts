/** Windows of the calendar, and when to try again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PERIODS, retryNote, windowOf } from '../../../src/policy/limits.ts';
import { seed } from '../../kit/tier.ts';

test('a window of each period, in UTC; a week begins on Monday', () => {
  const at = Date.parse('2024-02-29T13:14:15.167Z');
  const shown = PERIODS.map((period) => {
    const { start, end } = windowOf(period, at);
    return [period, new Date(start).toISOString(), new Date(end).toISOString()];
  });
  assert.deepEqual(shown, [
    ['minute', '2024-02-29T13:14:00.000Z', '2024-02-29T13:15:00.000Z'],
    ['hour', '2024-02-29T13:00:00.000Z', '2024-02-29T14:00:00.000Z'],
    ['day', '2024-02-29T00:00:00.000Z', '2024-03-01T00:00:00.000Z'],
    ['week', '2024-02-26T00:00:00.000Z', '2024-03-04T00:00:00.000Z'],
    ['month', '2024-02-01T00:00:00.000Z', '2024-03-01T00:00:00.000Z'],
  ]);
});

test('windows follow each other without a gap, and hold their time', () => {
  fc.assert(
    fc.property(fc.constantFrom(...PERIODS), fc.integer({ min: 0, max: 4e12 }), (period, now) => {
      const { start, end } = windowOf(period, now);
      assert.ok(start <= now && now < end);
      assert.deepEqual(windowOf(period, end - 1), { start, end });
      assert.equal(windowOf(period, end).start, end);
    }),
    { seed },
  );
});

test('when to try again is never too early', () => {
  for (const [ms, text] of [
    [0, '1 second'],
    [1001, '2 seconds'],
    [119_000, '119 seconds'],
    [120_000, '2 minutes'],
    [119 * 60_000 + 1, '120 minutes'],
    [7_200_000, '2 hours'],
    [172_800_000, '2 days'],
  ] as const)
    assert.equal(retryNote(ms), `; try again in ${text}`);
});
