/**
 * Whether a service outside is asked at all. After MOST_FAILURES one behind the other it is left alone for a while, so that
 * messages do not wait for what will not come; then one message tries, while the others go on as the configuration says.
 * Nothing has to be restarted when the service is back.
 */
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { ServiceReport } from '../record/events.ts';

const MOST_FAILURES = 5;
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 30_000;

export class Breaker {
  readonly #name: ServiceReport['name'];
  readonly #clock: Clock;
  readonly #log: Log;
  /** since the last answer */
  #failures = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #askAgainMs = 0;
  #isTrying = false;
  #counts = noCounts();

  constructor(name: ServiceReport['name'], { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#name = name;
    this.#clock = clock;
    this.#log = log;
  }

  /** The service is left alone. */
  get isOpen(): boolean {
    return this.#failures >= MOST_FAILURES;
  }

  /** Asks, or rejects at once while the service is left alone. Whatever `work` rejects with is a failure of the service. */
  async ask<T>(work: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    const isTrial = this.isOpen;
    if (isTrial) {
      if (this.#isTrying || startMs < this.#askAgainMs) {
        this.#counts.skipped++;
        throw new Error(`left alone after ${this.#failures} failures`);
      }
      this.#isTrying = true;
    }
    try {
      const answer = await work();
      this.#counts.answered++;
      this.#answered();
      return answer;
    } catch (error) {
      this.#counts.failed++;
      this.#failed(isTrial, error);
      throw error;
    } finally {
      if (isTrial) this.#isTrying = false;
      this.#counts.ms += this.#clock.monotonicMs() - startMs;
    }
  }

  /** What has been counted since it was last asked. */
  report(): ServiceReport {
    const { answered, failed, skipped, ms } = this.#counts;
    this.#counts = noCounts();
    return { name: this.#name, up: !this.isOpen, answered, failed, skipped, ms };
  }

  #answered(): void {
    if (this.isOpen) this.#log.write('info', 'service.up', { service: this.#name });
    this.#failures = 0;
    this.#pauseMs = FIRST_PAUSE_MS;
  }

  #failed(isTrial: boolean, error: unknown): void {
    // Of those that were under way when it was given up, none makes the pause longer.
    if (this.isOpen && !isTrial) return;
    this.#failures++;
    if (!this.isOpen) return;
    if (isTrial) this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_PAUSE_MS);
    else this.#log.write('warn', 'service.down', { service: this.#name, error: String(error) });
    this.#askAgainMs = this.#clock.monotonicMs() + this.#pauseMs;
  }
}

function noCounts(): { answered: number; failed: number; skipped: number; ms: number } {
  return { answered: 0, failed: 0, skipped: 0, ms: 0 };
}
