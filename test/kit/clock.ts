/** A clock that a test can put forward; it goes on by itself as well. */
import type { Clock } from '../../src/kit/clock.ts';

export type TestClock = Clock & { forward(ms: number): void };

export function testClock(): TestClock {
  let ahead = 0;
  return {
    nowMs: () => Date.now() + ahead,
    monotonicMs: () => performance.now() + ahead,
    forward: (ms) => void (ahead += ms),
  };
}
