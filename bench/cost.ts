/** What a set of processes costs: CPU time with that of children that have ended, and memory. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atLast } from './leftovers.ts';
import { pidsIn } from '../src/lab/namespace.ts';

const REMOVE_TRIES = 50;
const REMOVE_EVERY_MS = 20;

export type Memory = {
  /** highest resident memory since the last reset: of all processes together, of the largest one */
  readonly peakBytes: number;
  readonly largestPeakBytes: number;
  /** memory of its own (heap, stacks) now, of all together */
  readonly anonymousBytes: number;
};

/** Counts every process that is in a network namespace when this is made, and all that these start. */
export class Cost {
  readonly #namespace: string;
  readonly #group: string;
  readonly #remove: () => void;

  constructor(namespace: string) {
    this.#namespace = namespace;
    this.#group = join(cgroupRoot(), `bench-${namespace}`);
    mkdirSync(this.#group, { recursive: true });
    this.#remove = atLast(() => removeGroup(this.#group));
    for (const pid of pidsIn(namespace)) tryTo(() => writeFileSync(join(this.#group, 'cgroup.procs'), String(pid)));
  }

  /** CPU seconds, user and system, since this was made. */
  cpuSeconds(): number {
    const text = readFileSync(join(this.#group, 'cpu.stat'), 'utf8');
    return Number(/^usage_usec (\d+)/m.exec(text)?.[1]) / 1e6;
  }

  resetPeaks(): void {
    for (const pid of pidsIn(this.#namespace)) tryTo(() => writeFileSync(`/proc/${pid}/clear_refs`, '5'));
  }

  memory(): Memory {
    const all = pidsIn(this.#namespace).map((pid) => status(pid));
    return {
      peakBytes: sum(all.map(({ VmHWM = 0 }) => VmHWM)),
      largestPeakBytes: Math.max(0, ...all.map(({ VmHWM = 0 }) => VmHWM)),
      anonymousBytes: sum(all.map(({ RssAnon = 0 }) => RssAnon)),
    };
  }

  /** After the namespace is gone: the kernel keeps a group as long as a process is in it. */
  close(): void {
    this.#remove();
  }
}

/** What has been killed is in its group until it is reaped, a moment later. */
function removeGroup(path: string): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let tries = 0; tries < REMOVE_TRIES; tries++) {
    try {
      return rmdirSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return;
      Atomics.wait(clock, 0, 0, REMOVE_EVERY_MS);
    }
  }
}

/** The unified hierarchy counts CPU time whether or not a controller is enabled in it. */
function cgroupRoot(): string {
  const mounts = readFileSync('/proc/mounts', 'utf8');
  const found = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
  if (found === undefined) throw new Error('no cgroup2 hierarchy is mounted: CPU time cannot be counted');
  return found;
}

/** The sizes in /proc/PID/status, in bytes; nothing when the process has ended. */
function status(pid: number): Partial<Record<string, number>> {
  let text = '';
  tryTo(() => {
    text = readFileSync(`/proc/${pid}/status`, 'utf8');
  });
  return Object.fromEntries(
    [...text.matchAll(/^(\w+):\s+(\d+) kB/gm)].map(([, name, kib]) => [name, Number(kib) * 1024]),
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function tryTo(what: () => void): void {
  try {
    what();
  } catch {
    // the process has ended
  }
}
