/** Tasks of every temper, for the tests of the pool. */
import { serveTasks } from '../../../src/kit/thread.ts';

serveTasks({
  double: (input: number) => input * 2,
  fails: () => {
    throw new Error('planted');
  },
  spins: () => {
    for (;;);
  },
  grows: () => {
    const all: number[][] = [];
    for (;;) all.push(Array.from({ length: 100_000 }, (_, i) => i));
  },
  ends: () => process.exit(3),
  length: (input: Uint8Array) => input.length,
});
