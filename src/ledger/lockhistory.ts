/** What became of locks: one line for each in state_dir/lock-history.jsonl, the newest 10,000 of them. */
import { appendFileSync, readFileSync } from 'node:fs';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { maybe, object, oneOf, type Shape, text, whole } from '../kit/shape.ts';
import { isLock, type Lock, type LockEvent } from './language.ts';

const MAX_KEPT = 10_000;

const isEvent: Shape<LockEvent> = object<LockEvent>({
  at: whole(),
  what: oneOf('locked', 'unlocked', 'expired'),
  who: text(100),
  rule: maybe(text(64)),
  lock: isLock,
});

export class LockHistory {
  readonly #path: string;
  readonly #log: Log;
  #events: LockEvent[] = [];
  #failed = false;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#read();
  }

  add(event: LockEvent): void {
    this.#events.push(event);
    try {
      if (this.#events.length >= 2 * MAX_KEPT) {
        this.#events = this.#events.slice(-MAX_KEPT);
        writeAtomically(this.#path, this.#events.map((one) => `${JSON.stringify(one)}\n`).join(''));
      } else appendFileSync(this.#path, `${JSON.stringify(event)}\n`, { mode: 0o600 });
      this.#failed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Newest first. */
  list(limit: number): readonly LockEvent[] {
    return this.#events.slice(-limit).reverse();
  }

  /** How often a rule has locked exactly this since then. */
  countOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>, sinceMs: number): number {
    return this.#events.filter(
      ({ at, what, rule, lock }) =>
        at >= sinceMs &&
        what === 'locked' &&
        rule !== undefined &&
        lock.subject === subject &&
        lock.identity === identity,
    ).length;
  }

  #read(): void {
    let lines: readonly string[];
    try {
      lines = readFileSync(this.#path, 'utf8').split('\n');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
      return;
    }
    for (const line of lines.slice(-MAX_KEPT - 1)) {
      try {
        const raw: unknown = JSON.parse(line);
        if (isEvent(raw)) this.#events.push(raw);
      } catch {
        // The last line of a keeper that was killed; a history with a hole is still one.
      }
    }
  }

  #complain(error: unknown): void {
    if (!this.#failed)
      this.#log.write('error', 'locks.history-not-kept', {
        path: this.#path,
        error: String(error),
        effect: 'locks hold; how often a rule has locked is not known after a restart',
      });
    this.#failed = true;
  }
}
