import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadline } from '../../../src/kit/deadline.ts';

const after = (ms: number): Promise<number> =>
  new Promise((resolve) => setTimeout(() => resolve(performance.now()), ms));

test('a deadline is reached once, counted from when it was set last, later or sooner', async () => {
  for (const last of [60, 20]) {
    const { promise, resolve } = Promise.withResolvers<number>();
    let times = 0;
    const deadline = new Deadline(() => {
      times++;
      resolve(performance.now());
    });
    deadline.set(40);
    const from = performance.now();
    deadline.set(last);
    const reachedMs = (await promise) - from;
    assert.ok(reachedMs >= last - 2, `${reachedMs} of ${last}`);
    await after(60);
    assert.equal(times, 1);
  }
});

test('one that is cleared or ended is not reached, and one that is cleared can be set again', async () => {
  let times = 0;
  const deadline = new Deadline(() => times++);
  deadline.set(10);
  deadline.clear();
  await after(30);
  assert.equal(times, 0);
  deadline.set(10);
  await after(40);
  assert.equal(times, 1);
  deadline.set(10);
  deadline.end();
  await after(30);
  assert.equal(times, 1);
});
