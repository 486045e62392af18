import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../../src/kit/ids.ts';

test('an id has 16 characters that can be read out, and sorts by age', () => {
  const times = [0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 4_000_000_000_000, 32 ** 9 - 1];
  const ids = times.map(newId);
  for (const id of ids) assert.match(id, /^[0-9A-HJKMNP-TV-Z]{16}$/);
  assert.deepEqual([...ids].sort(), ids);
});

test('100,000 ids of one millisecond are 100,000 ids', () => {
  // 35 random bits: some twins among so many are likely (about 0.15 expected), a worn-out pool would make thousands.
  const ids = new Set(Array.from({ length: 100_000 }, () => newId(1_700_000_000_000)));
  assert.ok(ids.size >= 99_990, `${ids.size} different ones`);
});

test('each of the 32 letters occurs at each random place', () => {
  const seen = Array.from({ length: 7 }, () => new Set<string>());
  for (let i = 0; i < 5000; i++)
    for (const [at, letter] of newId(0).slice(9).split('').entries()) seen[at]?.add(letter);
  assert.deepEqual(
    seen.map((letters) => letters.size),
    [32, 32, 32, 32, 32, 32, 32],
  );
});
