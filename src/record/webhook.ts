/**
 * Events to somebody's program over HTTP, one at a time and in order. One that is not taken is tried again, later each time, for an
 * hour; what waits is bounded. Each is signed, so that whoever gets it knows that it is ours and not old.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';

export type WebhookTarget = {
  readonly name: string;
  readonly url: string;
  readonly secretFile: string;
};

export type WebhookOptions = {
  /** in what is sent */
  readonly gateway: string;
  readonly clock: Clock;
  readonly log: Log;
  /** for tests; default 1 s */
  readonly firstRetryMs?: number;
};

export const SIGNATURE = 'x-postern-signature';

const MAX_WAITING = 1000;
const REQUEST_MS = 10_000;
const MAX_RETRY_MS = 5 * 60_000;
const MAX_AGE_MS = 3_600_000;

type Event = { readonly kind: string; readonly body: string; readonly since: number };

export class Webhook {
  readonly #target: WebhookTarget;
  readonly #options: WebhookOptions;
  readonly #secret: string | undefined;
  readonly #waiting: Event[] = [];
  readonly #life = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;
  #retryMs: number;
  #dropped = 0;

  /** A secret that cannot be read, or is empty, is complained of, and nothing is sent: unsigned events are worth nothing. */
  constructor(target: WebhookTarget, options: WebhookOptions) {
    this.#target = target;
    this.#options = options;
    this.#retryMs = options.firstRetryMs ?? 1_000;
    try {
      const secret = readFileSync(target.secretFile, 'utf8').replace(/\r?\n$/, '');
      if (secret === '') throw new Error(`${target.secretFile} is empty`);
      this.#secret = secret;
    } catch (error) {
      options.log.write('error', 'webhook.no-secret', { webhook: target.name, error: (error as Error).message });
    }
  }

  /** Events that nobody took. */
  get dropped(): number {
    return this.#dropped;
  }

  tell(kind: string, data: object): void {
    const { clock, gateway } = this.#options;
    if (this.#secret === undefined || this.#waiting.length >= MAX_WAITING) {
      this.#dropped++;
      return;
    }
    const at = clock.nowMs();
    const body = JSON.stringify({ id: randomUUID(), at, gateway, event: kind, data });
    this.#waiting.push({ kind, body, since: clock.monotonicMs() });
    void this.#next();
  }

  close(): void {
    this.#life.abort();
    clearTimeout(this.#timer);
    this.#dropped += this.#waiting.splice(0).length;
  }

  async #next(): Promise<void> {
    const [event] = this.#waiting;
    if (!event || this.#isBusy || this.#timer) return;
    this.#isBusy = true;
    const { log, clock, firstRetryMs = 1_000 } = this.#options;
    const outcome = await this.#send(event.body);
    this.#isBusy = false;
    if (this.#life.signal.aborted) return;
    const isOld = clock.monotonicMs() - event.since > MAX_AGE_MS;
    if (outcome === 'taken' || outcome.isFinal || isOld) {
      this.#waiting.shift();
      this.#retryMs = firstRetryMs;
      if (outcome !== 'taken') {
        this.#dropped++;
        log.write('warn', 'webhook.dropped', {
          webhook: this.#target.name,
          kind: event.kind,
          problem: outcome.problem,
        });
      }
      return void this.#next();
    }
    log.write('warn', 'webhook.failed', { webhook: this.#target.name, kind: event.kind, problem: outcome.problem });
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#next();
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
  }

  async #send(body: string): Promise<'taken' | { readonly problem: string; readonly isFinal: boolean }> {
    const seconds = Math.floor(this.#options.clock.nowMs() / 1000);
    const signature = createHmac('sha256', this.#secret ?? '')
      .update(`${seconds}.${body}`)
      .digest('hex');
    try {
      const response = await fetch(this.#target.url, {
        method: 'POST',
        // What is for one place goes to no other.
        redirect: 'error',
        headers: { 'content-type': 'application/json', [SIGNATURE]: `t=${seconds},v1=${signature}` },
        body,
        signal: AbortSignal.any([this.#life.signal, AbortSignal.timeout(REQUEST_MS)]),
      });
      await response.body?.cancel();
      if (response.ok) return 'taken';
      const { status } = response;
      return {
        problem: `status ${status}`,
        isFinal: status >= 400 && status < 500 && status !== 408 && status !== 429,
      };
    } catch (error) {
      const { message, cause } = error as Error;
      return { problem: cause instanceof Error ? cause.message : message, isFinal: false };
    }
  }
}
