/**
 * How many of this process's descriptors are in use, against its limit.
 *
 * Counted, not asked from the kernel: reading /proc/self/fd with 16,000 entries takes milliseconds. What is not a
 * session or an upstream connection (listeners, keeper, files) is measured once at the start.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** At this share new connections get 421; the rest is for upstream connections and spool files of running sessions. */
const FULL = 0.8;

export class Descriptors {
  readonly limit: number;
  readonly #baseCount: number;
  readonly #count: () => number;

  /** `count` says how many sessions, upstream connections and spool files are open now. */
  constructor(count: () => number, limit = descriptorLimit()) {
    this.limit = limit;
    this.#baseCount = readdirSync('/proc/self/fd').length;
    this.#count = count;
  }

  get isFull(): boolean {
    return this.#share() >= FULL;
  }

  /** Deadlines shrink from here on (limits.pressure, percent). */
  isPressed(percent: number): boolean {
    return this.#share() * 100 >= percent;
  }

  #share(): number {
    return (this.#baseCount + this.#count()) / this.limit;
  }
}

/** The soft limit of open files of this process. */
function descriptorLimit(): number {
  const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return line ? Number(line[1]) : 1024;
}
