/**
 * A process of the lab that says on standard output what it sees, one JSON object a line, after a first line that says
 * it is ready. It ends when its standard input does, so it cannot outlive whoever started it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.ts';

/** What is kept of a reporter that talks a lot; the oldest lines go first. */
const KEPT = 100_000;
const START_MS = 60_000;
const STOP_MS = 3_000;

export type Reporter<T> = {
  /** what was reported so far, oldest first; lines stay when it is stopped and started again */
  readonly lines: readonly T[];
  /** The first line, of all so far or to come, that fits; undefined when none came within `deadlineMs`. */
  readonly waitFor: (fits: (line: T) => boolean, deadlineMs: number) => Promise<T | undefined>;
  readonly start: () => Promise<void>;
  /** Kill it and wait until it is gone. */
  readonly stop: () => Promise<void>;
};

/**
 * Run `src/lab/SCRIPT` in a namespace (or right here when it is undefined) and resolve when it is ready. Rejects with
 * what it wrote to standard error when it ends before.
 */
export async function startReporter<T>(
  where: Namespace | undefined,
  script: string,
  args: readonly string[],
): Promise<Reporter<T>> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const lines: T[] = [];
  const waiting = new Set<(line: T) => void>();
  let child: ChildProcess | undefined;

  const take = (line: T): void => {
    lines.push(line);
    if (lines.length > KEPT) lines.splice(0, KEPT / 10);
    for (const tell of waiting) tell(line);
  };
  const start = async (): Promise<void> => {
    const started = where
      ? where.spawn(process.execPath, [path, ...args], { stdio: 'pipe' })
      : spawn(process.execPath, [path, ...args], { stdio: 'pipe', detached: true });
    child = started;
    await ready(started, script, take);
  };
  await start();
  return {
    lines,
    start,
    stop: async () => {
      const ending = child;
      child = undefined;
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
      const gone = once(ending, 'close', { signal: AbortSignal.timeout(STOP_MS) });
      ending.kill('SIGKILL');
      await gone;
    },
    waitFor: (fits, deadlineMs) => {
      const already = lines.find(fits);
      if (already !== undefined) return Promise.resolve(already);
      return new Promise((resolve) => {
        const end = (line: T | undefined): void => {
          clearTimeout(timer);
          waiting.delete(tell);
          resolve(line);
        };
        const tell = (line: T): void => {
          if (fits(line)) end(line);
        };
        // Whoever no longer waits is not held up by it.
        const timer = setTimeout(end, deadlineMs, undefined).unref();
        waiting.add(tell);
      });
    },
  };
}

/** Resolves at the first line; every later one is handed to `take`. */
function ready<T>(child: ChildProcess, script: string, take: (line: T) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let rest = '';
    let said = '';
    let isReady = false;
    const fail = (why: string): void => {
      clearTimeout(timer);
      reject(new Error(`${script} ${why}: ${said.trim() || 'it said nothing'}`));
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`was not ready after ${START_MS} ms`);
    }, START_MS);
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
    });
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        if (isReady) take(JSON.parse(line) as T);
        else {
          isReady = true;
          clearTimeout(timer);
          resolve();
        }
      }
    });
    child.stdin?.on('error', () => {});
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => {
      if (!isReady) fail(`ended with ${signal ?? code}`);
    });
  });
}
