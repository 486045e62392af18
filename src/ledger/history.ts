/** What became of orders: one line for each in a file of state_dir, the newest 10,000 of them. */
import { appendFileSync, readFileSync } from 'node:fs';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import type { Shape } from '../kit/shape.ts';

const MAX_KEPT = 10_000;

export type HistoryOptions<E> = {
  readonly path: string;
  readonly log: Log;
  readonly isEvent: Shape<E>;
  /** the log's event when it cannot be kept, and what that leads to */
  readonly failure: { readonly event: string; readonly effect: string };
};

export class History<E> {
  readonly #options: HistoryOptions<E>;
  protected events: E[] = [];
  #failed = false;

  constructor(options: HistoryOptions<E>) {
    this.#options = options;
    this.#read();
  }

  add(event: E): void {
    const { path } = this.#options;
    this.events.push(event);
    try {
      if (this.events.length >= 2 * MAX_KEPT) {
        this.events = this.events.slice(-MAX_KEPT);
        writeAtomically(path, this.events.map((one) => `${JSON.stringify(one)}\n`).join(''));
      } else appendFileSync(path, `${JSON.stringify(event)}\n`, { mode: 0o600 });
      this.#failed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Newest first. */
  list(limit: number): readonly E[] {
    return this.events.slice(-limit).reverse();
  }

  #read(): void {
    let lines: readonly string[];
    try {
      lines = readFileSync(this.#options.path, 'utf8').split('\n');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
      return;
    }
    for (const line of lines.slice(-MAX_KEPT - 1)) {
      try {
        const raw: unknown = JSON.parse(line);
        if (this.#options.isEvent(raw)) this.events.push(raw);
      } catch {
        // The last line of a keeper that was killed; a history with a hole is still one.
      }
    }
  }

  #complain(error: unknown): void {
    const { path, log, failure } = this.#options;
    if (!this.#failed) log.write('error', failure.event, { path, error: String(error), effect: failure.effect });
    this.#failed = true;
  }
}
