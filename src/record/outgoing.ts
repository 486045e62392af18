/**
 * Our own mail on its way to a worker that sends it: in memory alone, bounded in number, size and age, tried again ever more
 * slowly. What is given up is counted and logged; the log never names who it was for.
 */
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { OwnMail } from './own-mail.ts';

/** What became of one: the code of the far side's last reply, 0 where there was none, and why. */
export type Sent = { readonly mail: number; readonly code: number; readonly reason: string };

export type Handing = { readonly mail: number; readonly to: string; readonly octets: string };

export type OutgoingOptions = {
  readonly clock: Clock;
  readonly log: Log;
  /** Hands it to a worker, which answers with `sent`; false where there is none. */
  readonly hand: (mail: Handing) => boolean;
};

const MAX_WAITING = 500;
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** beyond it there is more than workers should carry beside hosts' mail */
const MAX_UNDER_WAY = 4;
/** a worker that has not said by then has gone, or will not */
const ANSWER_MS = 15 * 60_000;
const FIRST_RETRY_MS = 60_000;
const MAX_RETRY_MS = 30 * 60_000;
const MAX_TRIES = 12;

type Waiting = {
  readonly mail: number;
  readonly own: OwnMail;
  tries: number;
  /** monotonic: when it is to be tried next, or given up waiting for an answer */
  dueMs: number;
  isUnderWay: boolean;
};

export class Outgoing {
  readonly #options: OutgoingOptions;
  readonly #waiting = new Map<number, Waiting>();
  #bytes = 0;
  #next = 1;
  #sent = 0;
  #dropped = 0;

  constructor(options: OutgoingOptions) {
    this.#options = options;
  }

  /** Taken by the smarthost, since the keeper's start. */
  get sent(): number {
    return this.#sent;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** False when there is no room: it is counted as dropped. */
  put(own: OwnMail): boolean {
    const { clock } = this.#options;
    if (this.#waiting.size >= MAX_WAITING || this.#bytes + own.bytes.length > MAX_WAITING_BYTES) {
      this.#drop('too many wait');
      return false;
    }
    const mail = this.#next++;
    this.#bytes += own.bytes.length;
    this.#waiting.set(mail, { mail, own, tries: 0, dueMs: clock.monotonicMs(), isUnderWay: false });
    this.tend();
    return true;
  }

  /** Hands on what is due; to be called each second. */
  tend(): void {
    const nowMs = this.#options.clock.monotonicMs();
    let underWay = 0;
    for (const one of this.#waiting.values()) {
      if (one.isUnderWay && one.dueMs <= nowMs) this.answered({ mail: one.mail, code: 0, reason: 'no answer' });
      if (one.isUnderWay) underWay++;
    }
    for (const one of this.#waiting.values()) {
      if (underWay >= MAX_UNDER_WAY) return;
      if (one.isUnderWay || one.dueMs > nowMs) continue;
      if (!this.#options.hand({ mail: one.mail, to: one.own.to, octets: one.own.bytes.toString('base64') })) return;
      one.isUnderWay = true;
      one.dueMs = nowMs + ANSWER_MS;
      underWay++;
    }
  }

  /** A worker says what became of one. An answer to one that is no longer waited for is heard by nobody. */
  answered({ mail, code, reason }: Sent): void {
    const one = this.#waiting.get(mail);
    if (!one?.isUnderWay) return;
    one.isUnderWay = false;
    one.tries++;
    if (code >= 200 && code < 300) {
      this.#sent++;
      this.#remove(one);
    } else if (code >= 500 || one.tries >= MAX_TRIES) {
      this.#drop(reason, code);
      this.#remove(one);
    } else {
      const retryMs = Math.min(FIRST_RETRY_MS * 2 ** (one.tries - 1), MAX_RETRY_MS);
      one.dueMs = this.#options.clock.monotonicMs() + retryMs;
      this.#options.log.write('warn', 'report.failed', { code, reason, retryMs });
    }
  }

  /** What waits is lost: it is told of, and counted. */
  close(): void {
    for (const one of this.#waiting.values()) {
      this.#drop('the keeper ends');
      this.#remove(one);
    }
  }

  #remove({ mail, own }: Waiting): void {
    this.#waiting.delete(mail);
    this.#bytes -= own.bytes.length;
  }

  #drop(reason: string, code = 0): void {
    this.#dropped++;
    this.#options.log.write('warn', 'report.dropped', { code, reason });
  }
}
