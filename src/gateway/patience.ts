/**
 * How long a connection may take over each thing, measured from its beginning and not from its last byte.
 *
 * While a host waits for our answers no time of its own runs.
 */
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';

/** After our last word the host may still be sending; reading it a while lets it see the reply instead of a reset. */
export const LINGER_MS = 2000;
/** Under pressure every deadline is a fifth of what is configured. */
const PRESSED = 0.2;
/** A body's rate counts after this. */
const RATE_GRACE_MS = 30_000;

/** What a connection is at. */
export type Moment = {
  /** our last word is said */
  readonly isClosing: boolean;
  readonly isHostsTurn: boolean;
  /** of a body that is being read */
  readonly bodyBytes: number | undefined;
  /** that wait for the host to be read */
  readonly unreadBytes: number;
};

/** `told`: it can be told so; `deaf`: it does not read; `done`: all was said, or nobody will read it. */
export type Late = 'told' | 'deaf' | 'done' | undefined;

export function factorOf(pressed: boolean): number {
  return pressed ? PRESSED : 1;
}

export class Patience {
  readonly #clock: Clock;
  #waitsSinceMs: number;
  #idleSinceMs: number;
  #bodySinceMs = 0;
  #unreadSinceMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#waitsSinceMs = clock.monotonicMs();
    this.#idleSinceMs = this.#waitsSinceMs;
  }

  /** A word of either side: the next is waited for from here. */
  spoken(): void {
    this.#waitsSinceMs = this.#clock.monotonicMs();
  }

  /** A message has begun or ended: what a session is for. */
  used(): void {
    this.#idleSinceMs = this.#clock.monotonicMs();
  }

  bodyBegins(): void {
    this.#bodySinceMs = this.#clock.monotonicMs();
  }

  /** Something that was written waits to be read, since now or longer; or nothing does. */
  unread(waits: boolean): void {
    this.#unreadSinceMs = waits ? (this.#unreadSinceMs ?? this.#clock.monotonicMs()) : undefined;
  }

  late(moment: Moment, limits: Config['limits'], nowMs: number, pressed: boolean): Late {
    const factor = factorOf(pressed);
    const waitedMs = nowMs - this.#waitsSinceMs;
    if (moment.isClosing) {
      // Under pressure the descriptor is worth more than a refusal that is surely read.
      const isSaid = waitedMs > (pressed ? 0 : LINGER_MS) && moment.unreadBytes === 0;
      return isSaid || waitedMs > limits.writeTimeout * factor ? 'done' : undefined;
    }
    if (this.#unreadSinceMs !== undefined && nowMs - this.#unreadSinceMs > limits.writeTimeout * factor) return 'deaf';
    if (moment.bodyBytes !== undefined) {
      const tookMs = nowMs - this.#bodySinceMs;
      const isSlow = tookMs > RATE_GRACE_MS && moment.bodyBytes < (tookMs / 1000) * limits.dataRate;
      return isSlow || tookMs > limits.dataTimeout * factor ? 'told' : undefined;
    }
    if (!moment.isHostsTurn) return undefined;
    const isIdle = nowMs - this.#idleSinceMs > limits.idleTimeout * factor;
    return isIdle || waitedMs > limits.commandTimeout * factor ? 'told' : undefined;
  }
}
