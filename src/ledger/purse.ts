/**
 * What a worker may still count of each limit without asking: leases that the keeper granted beyond what was asked for.
 *
 * Far from a limit one question serves many messages; near it each asks, since what is given beyond the need is a part of
 * what is left. What is not used for a while goes back, and at once what the keeper recalls. While the keeper is
 * away `gateway.keeper_failure` says what happens, and what was counted without it is told when it is back.
 */
import type { Clock } from '../kit/clock.ts';
import { isBucket, isDistinct, type Rule, windowOf } from '../policy/limits.ts';
import type { LedgerSettings } from './admitter.ts';
import type { Lease, Need } from './counters.ts';
import { type Back, MAX_BATCH, MAX_TAKES, type TakenAnswer, type ToKeeper } from './language.ts';

export const TAKE_TIMEOUT_MS = 250;
/** what a worker keeps of counters while the keeper is away; beyond it the first is forgotten, and begins anew */
const MAX_ALONE = 50_000;
/** longer than the keeper relies on it, KNOWN_MS in recalls.ts */
const TIGHT_MS = 2_000;

/** `slow`: granted, and as much is used as the subscriber's `slow_from` says. `away`: nobody could be asked. */
export type Taken = 'ok' | 'slow' | 'away' | { readonly over: Need; readonly retryMs: number };

type Held = {
  readonly rule: Rule;
  count: number;
  start: number;
  until: number;
  /** of the limit, as the keeper said it, less what has been used here since */
  left: number;
  /** the limit in force */
  limit: number;
  isIdle: boolean;
  /** those that the keeper has counted in this window */
  values: Set<string> | undefined;
};

type Alone = {
  readonly subject: string;
  readonly rule: Rule;
  readonly start: number;
  used: number;
  readonly values: Set<string>;
};

type Ask = {
  readonly missing: readonly Need[];
  readonly had: readonly Need[];
  readonly slowFrom: number;
  resolve: ((taken: Taken) => void) | undefined;
  /** it was not answered in time, and counted here */
  isAlone?: boolean;
};

export class Purse {
  #settings: LedgerSettings;
  readonly #say: (message: ToKeeper) => boolean;
  readonly #clock: Clock;
  readonly #held = new Map<string, Map<string, Held>>();
  readonly #asks = new Map<number, Ask>();
  #lastAsk = 0;
  #unsent: { readonly ask: number; readonly needs: readonly Need[] }[] = [];
  #back: Back[] = [];
  readonly #tight = new Map<string, number>();
  /** counted here while the keeper was away: for this worker's share, and to be told */
  readonly #alone = new Map<string, Alone>();

  constructor(settings: LedgerSettings, say: (message: ToKeeper) => boolean, clock: Clock) {
    this.#settings = settings;
    this.#say = say;
    this.#clock = clock;
  }

  /** A limit may be another now. */
  configure(settings: LedgerSettings): void {
    this.#settings = settings;
    this.#returnAll();
  }

  /** All of the needs or none of them. Answers within 250 ms and never rejects. `slowFrom`: a part of 1, 0 is never. */
  take(needs: readonly Need[], slowFrom: number, keeperIsUp: boolean): Taken | Promise<Taken> {
    const nowMs = this.#clock.nowMs();
    let missing: Need[] | undefined;
    for (const need of needs) if (!this.#has(need, nowMs)) (missing ??= []).push(need);
    if (!missing) {
      for (const need of needs) this.#use(need);
      return this.#isSlow(needs, slowFrom) ? 'slow' : 'ok';
    }
    const had = missing.length === needs.length ? [] : needs.filter((need) => !missing.includes(need));
    for (const need of had) this.#use(need);
    if (!keeperIsUp) return this.#takeAlone(missing, had, nowMs);
    return new Promise((resolve) => {
      const ask = ++this.#lastAsk;
      this.#asks.set(ask, { missing, had, slowFrom, resolve });
      if (this.#unsent.length === 0) setImmediate(() => this.#sendAsks());
      this.#unsent.push({ ask, needs: missing });
    });
  }

  /** Taken at `atMs`, and not used after all. What is counted once for each different one stays counted. */
  giveBack(needs: readonly Need[], atMs: number): void {
    const nowMs = this.#clock.nowMs();
    for (const { subject, rule, count, value } of needs) {
      if (value !== undefined) continue;
      const start = isBucket(rule) ? 0 : windowOf(rule.period, atMs).start;
      // The window it was taken in has ended: there is nothing to give back.
      if (start !== 0 && start !== windowOf(rule.period, nowMs).start) continue;
      const held = this.#held.get(subject)?.get(keyOf(rule));
      if (held?.start === start && held.until > nowMs && !this.#tight.has(subject)) {
        held.count += count;
        held.left += count;
        continue;
      }
      const own = this.#alone.get(`${subject} ${keyOf(rule)}`);
      if (own && own.start === startOf(rule, atMs) && own.used >= count) own.used -= count;
      else this.#tellBack({ subject, rule, start, count });
    }
  }

  answered({ ask: number, ...answer }: TakenAnswer): void {
    const ask = this.#asks.get(number);
    if (!ask) return;
    this.#asks.delete(number);
    const { missing, had, slowFrom, resolve, isAlone } = ask;
    if (!answer.ok) {
      if (!resolve) return;
      this.giveBack(had, this.#clock.nowMs());
      resolve({ over: missing[answer.over] as Need, retryMs: answer.retryMs });
      return;
    }
    for (const [i, need] of missing.entries()) this.#granted(need, answer.leases[i] as Lease);
    // Too late: what has been counted here is the keeper's, and what has been refused here goes back to it.
    if (!resolve) this.#late(missing, isAlone === true);
    else resolve(this.#isSlow([...missing, ...had], slowFrom) ? 'slow' : 'ok');
    for (const { subject } of missing) this.#keepNothingOf(subject);
  }

  /** Gives back what is held of these subjects, or of all, and says when that is done. */
  recalled(recall: number, subjects: readonly string[] | undefined): void {
    const untilMs = this.#clock.monotonicMs() + TIGHT_MS;
    if (!subjects) this.#returnAll();
    for (const subject of subjects ?? []) {
      this.#tight.set(subject, untilMs);
      this.#return(subject);
    }
    this.tellAlone();
    this.sendBack();
    // What could not be said waits, and the keeper with it.
    if (this.#back.length === 0) this.#say({ kind: 'returned', of: 'limits', recall });
  }

  /** To be called now and then: what was not used since the call before goes back. */
  sweep(): void {
    const nowMs = this.#clock.nowMs();
    this.tellAlone();
    for (const [subject, rules] of this.#held) {
      for (const [key, held] of rules) {
        if (!held.isIdle && held.until > nowMs) {
          held.isIdle = true;
          continue;
        }
        if (held.values && held.until > nowMs) continue;
        this.#giveUp(subject, held);
        rules.delete(key);
      }
      if (rules.size === 0) this.#held.delete(subject);
    }
    const monotonicMs = this.#clock.monotonicMs();
    for (const [subject, untilMs] of this.#tight) if (monotonicMs > untilMs) this.#tight.delete(subject);
  }

  /**
   * What was counted without the keeper, of windows that have not ended: when it is there again, and now and then, since one
   * that is slow for once stays connected. What cannot be said waits.
   */
  tellAlone(): void {
    if (this.#alone.size === 0) return;
    const nowMs = this.#clock.nowMs();
    const needs = [...this.#alone.values()].filter((own) => startOf(own.rule, nowMs) === own.start).flatMap(needsOf);
    this.#alone.clear();
    for (let at = 0; at < needs.length; at += MAX_BATCH) {
      if (this.#say({ kind: 'spent', needs: needs.slice(at, at + MAX_BATCH) })) continue;
      for (const need of needs.slice(at)) count(this.#own(need, nowMs), need);
      return;
    }
  }

  /** The keeper has gone: whoever waits for its answer is answered here. What is held stays good: it has been counted. */
  down(): void {
    this.#unsent = [];
    this.#tight.clear();
    const open = [...this.#asks.values()];
    this.#asks.clear();
    for (const ask of open) this.#answerAlone(ask);
  }

  sendBack(): void {
    while (this.#back.length > 0) {
      if (!this.#say({ kind: 'back', items: this.#back.slice(0, MAX_BATCH) })) return;
      this.#back.splice(0, MAX_BATCH);
    }
  }

  #has({ subject, rule, count, value }: Need, nowMs: number): boolean {
    const held = this.#held.get(subject)?.get(keyOf(rule));
    if (!held || held.until <= nowMs || held.rule.limit !== rule.limit) return false;
    return value === undefined ? held.count >= count : held.values?.has(value) === true;
  }

  #use({ subject, rule, count, value }: Need): void {
    const held = this.#held.get(subject)?.get(keyOf(rule));
    if (!held) return;
    held.isIdle = false;
    if (value !== undefined) return;
    held.count -= count;
    held.left -= count;
  }

  #isSlow(needs: readonly Need[], slowFrom: number): boolean {
    if (slowFrom === 0) return false;
    return needs.some(({ subject, rule }) => {
      const held = this.#held.get(subject)?.get(keyOf(rule));
      return held !== undefined && held.limit - held.left >= held.limit * slowFrom;
    });
  }

  #granted({ subject, rule, value }: Need, { count, start, until, left, limit = rule.limit }: Lease): void {
    let rules = this.#held.get(subject);
    if (!rules) this.#held.set(subject, (rules = new Map()));
    const key = keyOf(rule);
    let held = rules.get(key);
    if (held && held.rule.limit !== rule.limit) this.#giveUp(subject, held);
    if (!held || held.start !== start || held.rule.limit !== rule.limit) {
      held = {
        ...{ rule, count: 0, start, until, left, limit, isIdle: false },
        values: isDistinct(rule.unit) ? new Set() : undefined,
      };
      rules.set(key, held);
    }
    held.count += count;
    held.until = until;
    held.left = left;
    held.limit = limit;
    held.isIdle = false;
    if (value !== undefined) held.values?.add(value);
  }

  #returnAll(): void {
    for (const subject of [...this.#held.keys()]) this.#return(subject);
  }

  #return(subject: string): void {
    for (const held of this.#held.get(subject)?.values() ?? []) this.#giveUp(subject, held);
    this.#held.delete(subject);
  }

  #giveUp(subject: string, { rule, count, start }: Held): void {
    if (count > 0) this.#tellBack({ subject, rule, start, count });
  }

  #tellBack(back: Back): void {
    if (this.#back.length === 0) setImmediate(() => this.sendBack());
    // With the keeper away they wait. One too many stays counted until its window ends.
    if (this.#back.length < MAX_ALONE) this.#back.push(back);
  }

  /** If it has been recalled. */
  #keepNothingOf(subject: string): void {
    if (this.#tight.size === 0 || !this.#tight.has(subject)) return;
    for (const held of this.#held.get(subject)?.values() ?? []) {
      this.#giveUp(subject, held);
      held.count = 0;
    }
  }

  #sendAsks(): void {
    const all = this.#unsent;
    this.#unsent = [];
    for (let at = 0; at < all.length; at += MAX_TAKES) {
      const batch = all.slice(at, at + MAX_TAKES);
      const isSaid = this.#say({ kind: 'take', asks: batch });
      const late = (): void => {
        for (const { ask } of batch) {
          const one = this.#asks.get(ask);
          // It stays among them: the keeper may still answer, and has then counted it.
          if (one?.resolve) this.#answerAlone(one);
          if (!isSaid) this.#asks.delete(ask);
        }
      };
      if (isSaid) setTimeout(late, TAKE_TIMEOUT_MS);
      else late();
    }
  }

  #answerAlone(ask: Ask): void {
    const { resolve } = ask;
    if (!resolve) return;
    ask.resolve = undefined;
    const taken = this.#takeAlone(ask.missing, ask.had, this.#clock.nowMs());
    ask.isAlone = taken === 'ok';
    resolve(taken);
  }

  /** The keeper has counted these after all. */
  #late(needs: readonly Need[], isAlone: boolean): void {
    const nowMs = this.#clock.nowMs();
    const twice = needs.filter((need) => !isAlone || !this.#uncount(need, nowMs));
    this.giveBack(twice, nowMs);
  }

  /** Takes it out of what was counted here; false when the keeper has been told of it meanwhile. */
  #uncount({ subject, rule, count: many, value }: Need, nowMs: number): boolean {
    const own = this.#alone.get(`${subject} ${keyOf(rule)}`);
    if (!own || own.start !== startOf(rule, nowMs)) return false;
    if (value !== undefined) return own.values.delete(value);
    if (own.used < many) return false;
    own.used -= many;
    return true;
  }

  /** Without the keeper: this worker's own share of each limit, or no. */
  #takeAlone(missing: readonly Need[], had: readonly Need[], nowMs: number): Taken {
    const refuse = (taken: Taken): Taken => {
      this.giveBack(had, nowMs);
      return taken;
    };
    if (this.#settings.keeperFailure === 'defer') return refuse('away');
    const counts = missing.map((need) => ({ need, own: this.#own(need, nowMs) }));
    for (const { need, own } of counts) {
      // What somebody has earned the keeper alone knows.
      const limit = Math.min(need.rule.limit, need.rule.earned?.start ?? Number.POSITIVE_INFINITY);
      const share = Math.floor(limit / this.#settings.workers) || Math.min(1, limit);
      const used = need.value === undefined ? own.used : own.values.has(need.value) ? 0 : own.values.size;
      if (used + need.count > share)
        return refuse({ over: need, retryMs: windowOf(need.rule.period, nowMs).end - nowMs });
    }
    for (const { need, own } of counts) count(own, need);
    return 'ok';
  }

  #own({ subject, rule }: Need, nowMs: number): Alone {
    const start = startOf(rule, nowMs);
    const key = `${subject} ${keyOf(rule)}`;
    let own = this.#alone.get(key);
    if (own?.start === start) return own;
    const [oldest] = this.#alone.size >= MAX_ALONE ? this.#alone.keys() : [];
    if (oldest !== undefined) this.#alone.delete(oldest);
    own = { subject, rule, start, used: 0, values: new Set() };
    this.#alone.set(key, own);
    return own;
  }
}

/** A bucket's, too: what was used of it longer ago has come back. */
function startOf(rule: Rule, nowMs: number): number {
  return windowOf(rule.period, nowMs).start;
}

function count(own: Alone, need: Need): void {
  if (need.value === undefined) own.used += need.count;
  else own.values.add(need.value);
}

function needsOf({ subject, rule, used, values }: Alone): Need[] {
  if (values.size > 0) return Array.from(values, (value) => ({ subject, rule, count: 1, value }));
  return used > 0 ? [{ subject, rule, count: used }] : [];
}

function keyOf({ unit, period }: Rule): string {
  return `${unit}/${period}`;
}
