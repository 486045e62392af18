/** Waiting on an event instead of on the clock. */
import { setTimeout as pause } from 'node:timers/promises';

/** A queue of what came: `next()` waits for one. */
export type Inbox<T> = {
  readonly put: (item: T) => void;
  readonly next: () => Promise<T>;
  readonly items: readonly T[];
};

export function inbox<T>(): Inbox<T> {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    items,
    put: (item) => {
      const first = waiting.shift();
      if (first) first(item);
      else items.push(item);
    },
    next: () => {
      const item = items.shift();
      return item === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(item);
    },
  };
}

/** For what has no event: resolves when it holds, asked again every 5 ms; throws with `what` after the deadline. */
export async function until(holds: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`still waiting after ${timeoutMs} ms: ${what}`);
    await pause(5);
  }
}
