/**
 * Whether a worker may open one more connection of a source: from credit that it holds, by the keeper's answer, or, when
 * that does not come, by what `gateway.keeper_failure` says.
 *
 * Credit is what the keeper counts for this worker: its connections, and for half a minute those that have ended. All
 * credit of a source together never exceeds its limit, and no worker lets in more than its credit, so the limit is exact.
 * When the keeper needs what is not used it recalls it, and for a while everything of that source goes back as it ends.
 */
import { Holdings } from './holdings.ts';
import { type Counted, MAX_BATCH, type ToKeeper } from './language.ts';

export const ADMIT_TIMEOUT_MS = 250;
/** long enough that a host which sends now and then hardly ever waits for an answer before its banner */
export const SWEEP_MS = 20_000;
/** of so many sources something may be kept; it takes some 200 octets each, here and at the keeper */
const MAX_KEPT = 20_000;
/** longer than the keeper relies on it, KNOWN_MS in recalls.ts */
const TIGHT_MS = 2_000;

/** `away`: the keeper cannot be asked and `keeper_failure` is "defer". */
export type Admission = 'ok' | 'over' | 'away';

export type LedgerSettings = {
  /** gateway.workers: what one worker's share of a limit is made of */
  readonly workers: number;
  readonly keeperFailure: 'local' | 'defer';
};

type Ask = { readonly source: string; readonly limit: number; resolve: ((answer: Admission) => void) | undefined };

export class Admitter {
  #settings: LedgerSettings;
  readonly #say: (message: ToKeeper) => boolean;
  readonly #holdings = new Holdings();
  readonly #asks = new Map<number, Ask>();
  #lastAsk = 0;
  #unsent: { ask: number; source: string; limit: number }[] = [];
  #released: Counted[] = [];
  /** sources that the keeper has recalled not long ago, until when */
  readonly #tight = new Map<string, number>();

  constructor(settings: LedgerSettings, say: (message: ToKeeper) => boolean) {
    this.#settings = settings;
    this.#say = say;
  }

  /** A limit may have changed: what was admitted by the old one and is not used goes back. */
  configure(settings: LedgerSettings): void {
    this.#settings = settings;
    this.#giveBack(this.#holdings.takeBack());
  }

  admit(source: string, limit: number, keeperIsUp: boolean): Admission | Promise<Admission> {
    if (!keeperIsUp) return this.#alone(source, limit);
    if (this.#holdings.takeUnused(source)) return 'ok';
    return new Promise((resolve) => {
      const ask = ++this.#lastAsk;
      this.#asks.set(ask, { source, limit, resolve });
      if (this.#unsent.length === 0) setImmediate(() => this.#sendAsks());
      this.#unsent.push({ ask, source, limit });
    });
  }

  release(source: string): void {
    this.#holdings.drop(source);
    this.#keepNothingOf(source);
    this.#giveBack(this.#holdings.takeBeyond(MAX_KEPT));
  }

  answered(number: number, ok: boolean): void {
    const ask = this.#asks.get(number);
    if (!ask) return;
    this.#asks.delete(number);
    const { source, resolve } = ask;
    if (ok) this.#holdings.told(source, 1);
    if (resolve) {
      // After a no, too: one of ours may have ended since we asked.
      resolve(this.#holdings.takeUnused(source) ? 'ok' : 'over');
      return;
    }
    const missing = -this.#holdings.unused(source);
    if (missing > 0) this.#declare([{ source, count: missing }]);
    else this.#keepNothingOf(source);
  }

  /** Gives back what is not used of these sources, or of all, and says when that is done. */
  recalled(recall: number, sources: readonly string[] | undefined): void {
    const untilMs = performance.now() + TIGHT_MS;
    for (const source of sources ?? []) this.#tight.set(source, untilMs);
    this.#giveBack(this.#holdings.takeBack(sources));
    this.sendReleases();
    // What could not be said waits, and the keeper with it.
    if (this.#released.length === 0) this.#say({ kind: 'returned', of: 'connections', recall });
  }

  /** To be called now and then: what was not needed since the call before goes back. */
  sweep(): void {
    this.#giveBack(this.#holdings.sweep());
    for (const source of this.#tight.keys()) this.#isTight(source);
  }

  /** The keeper is there, and knows nothing of us. */
  up(): void {
    this.#declare(this.#holdings.forgotten());
  }

  /** The keeper has gone, and forgotten us: whoever waits for its answer is answered here. */
  down(): void {
    this.#released = [];
    this.#unsent = [];
    this.#tight.clear();
    this.#holdings.forgotten();
    const open = [...this.#asks.values()];
    this.#asks.clear();
    for (const ask of open) this.#answerAlone(ask);
  }

  sendReleases(): void {
    while (this.#released.length > 0) {
      if (!this.#say({ kind: 'release', sources: this.#released.slice(0, MAX_BATCH) })) return;
      this.#released.splice(0, MAX_BATCH);
    }
  }

  /** Without the keeper: this worker's own share of the limit, or no. */
  #alone(source: string, limit: number): Admission {
    if (this.#settings.keeperFailure === 'defer') return 'away';
    if (this.#holdings.held(source) >= Math.max(1, Math.floor(limit / this.#settings.workers))) return 'over';
    this.#holdings.take(source);
    return 'ok';
  }

  #answerAlone(ask: Ask): void {
    const { resolve } = ask;
    ask.resolve = undefined;
    resolve?.(this.#alone(ask.source, ask.limit));
  }

  #sendAsks(): void {
    const all = this.#unsent;
    this.#unsent = [];
    for (let at = 0; at < all.length; at += MAX_BATCH) {
      const batch = all.slice(at, at + MAX_BATCH);
      if (this.#say({ kind: 'admit', asks: batch })) {
        setTimeout(() => {
          for (const { ask } of batch) {
            const late = this.#asks.get(ask);
            // It stays among them: the keeper may still answer, and may then have counted it.
            if (late?.resolve) this.#answerAlone(late);
          }
        }, ADMIT_TIMEOUT_MS);
      } else {
        for (const { ask } of batch) {
          const one = this.#asks.get(ask);
          this.#asks.delete(ask);
          if (one) this.#answerAlone(one);
        }
      }
    }
  }

  /** If it has been recalled. */
  #keepNothingOf(source: string): void {
    if (this.#tight.size > 0 && this.#isTight(source)) this.#giveBack(this.#holdings.takeBack([source]));
  }

  #isTight(source: string): boolean {
    const untilMs = this.#tight.get(source);
    if (untilMs === undefined) return false;
    if (performance.now() <= untilMs) return true;
    this.#tight.delete(source);
    return false;
  }

  /** No longer our credit; told to the keeper with the others of this turn of the loop. */
  #giveBack(back: readonly Counted[]): void {
    if (back.length === 0) return;
    if (this.#released.length === 0) setImmediate(() => this.sendReleases());
    for (const one of back) this.#released.push(one);
  }

  #declare(held: readonly Counted[]): void {
    for (let at = 0; at < held.length; at += MAX_BATCH) {
      const sources = held.slice(at, at + MAX_BATCH);
      if (this.#say({ kind: 'hold', sources }))
        for (const { source, count } of sources) this.#holdings.told(source, count);
    }
  }
}
