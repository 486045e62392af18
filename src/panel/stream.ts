/** Server-sent events: how it stands every two seconds, and how many attempts ended which way meanwhile. */
import type { ServerResponse } from 'node:http';
import type { Log } from '../kit/log.ts';
import type { Attempt } from '../record/events.ts';
import type { Answer } from './http.ts';
import { Refusal } from './refusal.ts';

const STEP_MS = 2_000;
const MAX_STREAMS = 50;
/** Who does not read is gone. */
const MAX_UNREAD_BYTES = 256 * 1024;

type Counts = { accept: number; defer: number; reject: number };

export class Stream {
  readonly #status: () => Promise<unknown>;
  readonly #log: Log;
  /** with what throws once who reads may read no more */
  readonly #open = new Map<ServerResponse, () => void>();
  #counts: Counts = { accept: 0, defer: 0, reject: 0 };
  #timer: NodeJS.Timeout | undefined;

  constructor(status: () => Promise<unknown>, log: Log) {
    this.#status = status;
    this.#log = log;
  }

  seen(attempts: readonly Attempt[]): void {
    if (this.#open.size > 0) for (const { verdict } of attempts) this.#counts[verdict]++;
  }

  /** `admit` throws when who asks may not, or may no longer. */
  answer(admit: () => void): Answer {
    if (this.#open.size >= MAX_STREAMS)
      throw new Refusal(429, `${MAX_STREAMS} pages are open already`, { retryAfterS: 10 });
    return { headers: { 'content-type': 'text/event-stream' }, body: (response) => this.#begin(response, admit) };
  }

  close(): void {
    clearInterval(this.#timer);
    for (const response of this.#open.keys()) response.destroy();
  }

  #begin(response: ServerResponse, admit: () => void): void {
    this.#open.set(response, admit);
    response.on('close', () => {
      this.#open.delete(response);
      if (this.#open.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
    this.#counts = { accept: 0, defer: 0, reject: 0 };
    this.#timer ??= setInterval(() => void this.#tell(), STEP_MS);
    void this.#tell();
  }

  async #tell(): Promise<void> {
    const counts = this.#counts;
    this.#counts = { accept: 0, defer: 0, reject: 0 };
    try {
      const event = JSON.stringify({ status: await this.#status(), counts, stepMs: STEP_MS });
      for (const [response, admit] of this.#open) {
        if (response.writableLength > MAX_UNREAD_BYTES || !isAdmitted(admit)) response.destroy();
        else response.write(`data: ${event}\n\n`);
      }
    } catch (error) {
      this.#log.write('error', 'panel.stream', { error: String(error) });
    }
  }
}

function isAdmitted(admit: () => void): boolean {
  try {
    admit();
    return true;
  } catch {
    return false;
  }
}
