/**
 * What somebody has ordered and is to hold until a time, kept in a file of state_dir: locks, and steps on the ladder.
 *
 * A change is on disk before it is told: written beside, synced, moved into place, so that a cut leaves the old list or
 * the new one. When it cannot be written it holds nevertheless until the keeper ends, and the answer says so: an order
 * that a full disk prevents would be worse. A file that cannot be read is kept as it is under another name and mail goes
 * on without it: loudly, since refusing everybody for it would be an outage made from a typing error.
 *
 * `until` is wall time and the clock is asked at every look, so a clock that steps neither keeps an order for ever nor
 * ends one before that time.
 */
import { readFileSync, renameSync } from 'node:fs';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { MAX_LOCKS } from './language.ts';

/** All of them go to every worker in one line of 4 MiB. */
const MAX_TEXT_BYTES = 3 * 1024 * 1024;

export type Entry = {
  readonly since: number;
  /** undefined: until it is taken away */
  readonly until: number | undefined;
};

/** The log's event, and what it leads to. */
type Trouble = { readonly event: string; readonly effect: string };

export type RegisterOptions<T extends Entry> = {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** what the entries are called in the file: `locks` */
  readonly name: string;
  readonly troubles: Readonly<Record<'unread' | 'unwritten' | 'damaged', Trouble>>;
  /** of which there is one */
  readonly keyOf: (entry: T) => string;
  readonly isEntry: (raw: unknown) => raw is T;
};

/** True while it holds. `until` is wall time: a clock set back never ends one early, one set forward ends it. */
export function holds({ until }: Pick<Entry, 'until'>, nowMs: number): boolean {
  return until === undefined || nowMs < until;
}

export class Register<T extends Entry> {
  readonly #options: RegisterOptions<T>;
  readonly #byKey = new Map<string, T>();
  #unwritten = false;
  /** why the file could not be read; it is not written over before it has been */
  #unread: string | undefined;

  constructor(options: RegisterOptions<T>) {
    this.#options = options;
    this.#load();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Those that hold now, oldest first. */
  list(): readonly T[] {
    const nowMs = this.#options.clock.nowMs();
    return [...this.#byKey.values()].filter((entry) => holds(entry, nowMs));
  }

  /** If it holds. */
  of(key: string): T | undefined {
    const entry = this.#byKey.get(key);
    return entry && holds(entry, this.#options.clock.nowMs()) ? entry : undefined;
  }

  /** In the place of the one before, which is returned; false when there are as many as there can be. */
  put(entry: T): T | undefined | false {
    const key = this.#options.keyOf(entry);
    const before = this.#byKey.get(key);
    this.#byKey.delete(key);
    this.#byKey.set(key, entry);
    if (this.#byKey.size <= MAX_LOCKS && Buffer.byteLength(this.#text()) <= MAX_TEXT_BYTES) return before;
    this.#byKey.delete(key);
    if (before) this.#byKey.set(key, before);
    return false;
  }

  /** The one that is there no more. */
  remove(key: string): T | undefined {
    const entry = this.#byKey.get(key);
    this.#byKey.delete(key);
    return entry;
  }

  /** Forgets those that have run out, and writes again what could not be written. True when the list has changed. */
  tidy(onExpired: (entry: T) => void): boolean {
    const nowMs = this.#options.clock.nowMs();
    let changed = this.#unread !== undefined && this.#load();
    for (const [key, entry] of this.#byKey) {
      if (holds(entry, nowMs)) continue;
      this.#byKey.delete(key);
      onExpired(entry);
      changed = true;
    }
    if (changed || this.#unwritten) this.save();
    return changed;
  }

  /** Why the list will not survive a restart, when it could not be written. */
  save(): string | undefined {
    const { path, log, troubles } = this.#options;
    if (this.#unread !== undefined) {
      this.#unwritten = true;
      return `${path} cannot be read (${this.#unread})`;
    }
    try {
      writeAtomically(path, `${this.#text()}\n`);
      this.#unwritten = false;
      return undefined;
    } catch (error) {
      const { event, effect } = troubles.unwritten;
      if (!this.#unwritten) log.write('error', event, { path, error: String(error), effect });
      this.#unwritten = true;
      return `${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? String(error)})`;
    }
  }

  #text(): string {
    return JSON.stringify({ version: 1, [this.#options.name]: [...this.#byKey.values()] }, undefined, 1);
  }

  /** True when the file has been read, or there is none. What was ordered meanwhile stays. */
  #load(): boolean {
    const { path, log, keyOf, troubles } = this.#options;
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      const problem = (error as NodeJS.ErrnoException).code ?? String(error);
      if (problem === 'ENOENT') {
        this.#unread = undefined;
        return true;
      }
      const { event, effect } = troubles.unread;
      if (this.#unread !== problem) log.write('error', event, { path, error: problem, effect });
      this.#unread = problem;
      return false;
    }
    this.#unread = undefined;
    for (const entry of this.#parse(text)) if (!this.#byKey.has(keyOf(entry))) this.#byKey.set(keyOf(entry), entry);
    return true;
  }

  /** What the file says; when that is nothing sensible, the file is moved aside and there is nothing. */
  #parse(text: string): readonly T[] {
    const { path, name, log, clock, isEntry, troubles } = this.#options;
    try {
      const list = (JSON.parse(text) as Readonly<Record<string, unknown>>)[name];
      if (!Array.isArray(list) || !list.every((one) => isEntry(one))) throw new Error(`not a list of ${name}`);
      return list;
    } catch (error) {
      const kept = `${path}.damaged-${clock.nowMs()}`;
      let moved = true;
      try {
        renameSync(path, kept);
      } catch {
        moved = false;
      }
      const { event, effect } = troubles.damaged;
      log.write('error', event, {
        path,
        error: String(error),
        kept: moved ? kept : 'could not be moved aside',
        effect,
      });
      return [];
    }
  }
}
