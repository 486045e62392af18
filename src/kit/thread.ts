/** The inside of a thread of a pool (threads.ts): does one task after the other, and answers each. */
import { parentPort } from 'node:worker_threads';

export type Job = { readonly task: string; readonly input: unknown };
export type Done = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: string };

/** Called once, by the file that is a thread's entry. */
export function serveTasks(tasks: Readonly<Record<string, (input: never) => unknown>>): void {
  parentPort?.on('message', ({ task, input }: Job) => {
    void answer(tasks[task] as (input: unknown) => unknown, input);
  });
}

async function answer(task: (input: unknown) => unknown, input: unknown): Promise<void> {
  let done: Done;
  try {
    done = { ok: true, value: await task(input) };
  } catch (error) {
    done = { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(done);
}
