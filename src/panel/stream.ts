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
type Admit = () => string | undefined;

export class Stream {
  readonly #status: (tenant: string | undefined) => Promise<unknown>;
  readonly #log: Log;
  /** with what throws once who reads may read no more, and tells to which tenant he is bound */
  readonly #open = new Map<ServerResponse, Admit>();
  /** of all, under `undefined`, and of each tenant */
  #counts = new Map<string | undefined, Counts>();
  #timer: NodeJS.Timeout | undefined;

  constructor(status: (tenant: string | undefined) => Promise<unknown>, log: Log) {
    this.#status = status;
    this.#log = log;
  }

  seen(attempts: readonly Attempt[]): void {
    if (this.#open.size === 0) return;
    for (const { verdict, tenant } of attempts) {
      countsOf(this.#counts, undefined)[verdict]++;
      if (tenant !== undefined) countsOf(this.#counts, tenant)[verdict]++;
    }
  }

  /** `admit` throws when who asks may not, or may no longer; it returns the tenant whom alone he may see. */
  answer(admit: Admit): Answer {
    if (this.#open.size >= MAX_STREAMS)
      throw new Refusal(429, `${MAX_STREAMS} pages are open already`, { retryAfterS: 10 });
    return { headers: { 'content-type': 'text/event-stream' }, body: (response) => this.#begin(response, admit) };
  }

  close(): void {
    clearInterval(this.#timer);
    for (const response of this.#open.keys()) response.destroy();
  }

  #begin(response: ServerResponse, admit: Admit): void {
    this.#open.set(response, admit);
    response.on('close', () => {
      this.#open.delete(response);
      if (this.#open.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
    this.#counts.clear();
    this.#timer ??= setInterval(() => void this.#tell(), STEP_MS);
    void this.#tell();
  }

  async #tell(): Promise<void> {
    const counts = this.#counts;
    this.#counts = new Map();
    const events = new Map<string | undefined, Promise<string>>();
    for (const [response, admit] of this.#open) {
      try {
        const tenant = admit();
        const event = events.get(tenant) ?? this.#event(tenant, countsOf(counts, tenant));
        events.set(tenant, event);
        if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
        else response.write(`data: ${await event}\n\n`);
      } catch (error) {
        if (!(error instanceof Refusal)) this.#log.write('error', 'panel.stream', { error: String(error) });
        response.destroy();
      }
    }
  }

  async #event(tenant: string | undefined, counts: Counts): Promise<string> {
    return JSON.stringify({ status: await this.#status(tenant), counts, stepMs: STEP_MS });
  }
}

function countsOf(all: Map<string | undefined, Counts>, tenant: string | undefined): Counts {
  let counts = all.get(tenant);
  if (!counts) all.set(tenant, (counts = { accept: 0, defer: 0, reject: 0 }));
  return counts;
}
