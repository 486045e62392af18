/**
 * Counters kept over restarts: each change is a line of state_dir/counters.jsonl before a worker hears of it, so that a
 * keeper that is killed at any moment comes back with what it had granted. A cut in the power can lose the last second.
 *
 * The last line of a counter counts; when most lines are outdated the file is written anew, beside and moved into place.
 * A file that cannot be written costs no mail: counting goes on in memory, loudly.
 */
import { closeSync, fdatasync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Log } from '../kit/log.ts';
import { amount, maybe, object, oneOf, type Shape, text, whole } from '../kit/shape.ts';
import { PERIODS, UNITS } from '../policy/limits.ts';
import { type Change, Counters } from './counters.ts';
import { writeAtomically } from '../kit/files.ts';

/** so many lines more than there are counters */
const MAX_OUTDATED = 100_000;
/** Counters that are used no more are forgotten every so many calls. */
const TIDY_ROUNDS = 60;

const isChange: Shape<Change> = object<Change>({
  subject: text(400),
  unit: oneOf(...UNITS),
  period: oneOf(...PERIODS),
  limit: whole(),
  at: amount,
  used: amount,
  value: maybe(text(32)) as Shape<string>,
});

export class CounterFile {
  readonly counters: Counters;
  readonly #path: string;
  readonly #log: Log;
  #file: number | undefined;
  #lines = 0;
  #waiting = '';
  #unsynced = false;
  #failed = false;
  #rounds = 0;

  /** Reads what is there. Lines that are none are left out and counted: the last of a file may be cut. */
  constructor(path: string, log: Log, nowMs: number) {
    this.#path = path;
    this.#log = log;
    this.counters = new Counters((change) => {
      this.#waiting += `${JSON.stringify(change)}\n`;
      this.#lines++;
    });
    this.#read();
    this.counters.tidy(nowMs);
    this.#rewrite();
  }

  /** Writes what has changed: before anybody is told. */
  write(): void {
    if (this.#waiting === '') return;
    const lines = this.#waiting;
    this.#waiting = '';
    if (this.#file === undefined) return;
    try {
      writeSync(this.#file, lines);
      this.#unsynced = true;
    } catch (error) {
      this.#complain(error);
    }
  }

  /** To be called each second: to the disk, and anew when most of it is outdated. */
  tidy(nowMs: number): void {
    this.write();
    if (++this.#rounds % TIDY_ROUNDS === 0) this.counters.tidy(nowMs);
    if (this.#lines > MAX_OUTDATED || this.#file === undefined) this.#rewrite();
    else if (this.#unsynced) {
      this.#unsynced = false;
      fdatasync(this.#file, (error) => error && this.#complain(error));
    }
  }

  close(): void {
    this.write();
    this.#rewrite();
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #read(): void {
    let content: string;
    try {
      content = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
      return;
    }
    let bad = 0;
    for (const line of content.split('\n')) {
      if (line === '') continue;
      const change = parse(line);
      if (change) this.counters.restore(change);
      else bad++;
    }
    if (bad > 0) this.#log.write('warn', 'counters.damaged', { path: this.#path, lines: bad });
  }

  #rewrite(): void {
    this.#waiting = '';
    try {
      const lines = Array.from(this.counters.all(), (change) => JSON.stringify(change));
      writeAtomically(this.#path, lines.map((line) => `${line}\n`).join(''));
      if (this.#file !== undefined) closeSync(this.#file);
      this.#file = openSync(this.#path, 'a', 0o640);
      this.#lines = 0;
      this.#failed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    if (!this.#failed)
      this.#log.write('error', 'counters.not-kept', {
        path: this.#path,
        error: String(error),
        effect: 'limits are counted, and counted from an older state after a restart',
      });
    this.#failed = true;
  }
}

function parse(line: string): Change | undefined {
  try {
    const raw: unknown = JSON.parse(line);
    return isChange(raw) ? raw : undefined;
  } catch {
    return undefined;
  }
}
