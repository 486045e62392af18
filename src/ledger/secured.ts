/**
 * Servers that hosts have called and that had TLS: so that one which offers none the next time is not taken at its word.
 *
 * In memory alone: workers keep what they have heard while the keeper starts again, and the keeper tells it to workers that
 * start. Who was not heard of for longest is forgotten when there are too many.
 */
import type { Clock } from '../kit/clock.ts';
import { MAX_SECURED, type SecuredTold } from './language.ts';

export class Secured {
  readonly #clock: Clock;
  readonly #tell: (told: readonly SecuredTold[]) => void;
  readonly #until = new Map<string, number>();

  /** `tell` hears of each that is new, and again when half of its time is over. */
  constructor(clock: Clock, tell: (told: readonly SecuredTold[]) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** It had TLS just now. */
  saw(server: string, forMs: number): void {
    const nowMs = this.#clock.nowMs();
    if ((this.#until.get(server) ?? 0) > nowMs + forMs / 2 || forMs === 0) return;
    const until = nowMs + forMs;
    this.#until.delete(server);
    this.#until.set(server, until);
    const [oldest] = this.#until.keys();
    if (this.#until.size > MAX_SECURED && oldest !== undefined) {
      this.#until.delete(oldest);
      this.#tell([{ server: oldest, until: 0 }]);
    }
    this.#tell([{ server, until }]);
  }

  list(): readonly SecuredTold[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#until].flatMap(([server, until]) => (until > nowMs ? { server, until } : []));
  }
}
