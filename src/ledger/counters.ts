/**
 * How much of each limit is used: the exact count behind `limit_*`, for all workers together.
 *
 * What a worker was granted counts as used, whether it has used it yet or holds it for its next message; what it gives
 * back does not. So a limit is never exceeded, and by less than what workers hold it is refused too early: which is why
 * they are asked to give back before anything is refused (desk.ts).
 */
import { putLast } from '../kit/recent.ts';
import { fillMs, isBucket, isDistinct, type Period, type Rule, type Unit, windowOf } from '../policy/limits.ts';

/** One part of a question: may so many be counted for this subject by this rule? */
export type Need = {
  /** `subjectOf`, or an identity of it */
  readonly subject: string;
  readonly rule: Rule;
  readonly count: number;
  /** of what is counted once for each different one: a short hash of it */
  readonly value?: string;
};

/** More than was asked for, held by a worker for later: until `until` (milliseconds since 1970), of the window `start`. */
export type Lease = {
  readonly count: number;
  readonly start: number;
  readonly until: number;
  readonly left: number;
  /** where it is another than the rule's: an earned quota */
  readonly limit?: number;
};

/** Why not: the index of the need that is over, and when it may be asked again. */
export type Over = { readonly over: number; readonly retryMs: number };

/** What is counted now, for people. */
export type Count = {
  readonly unit: Unit;
  readonly period: Period;
  readonly limit: number;
  readonly used: number;
  /** when nothing will be used any more: the end of the window, or when the bucket is full */
  readonly endsAt: number;
};

type Counter = {
  readonly rule: Pick<Rule, 'unit' | 'period'>;
  /** as it was last asked for */
  limit: number;
  /** of a bucket: when `used` was right; of a window: its beginning */
  at: number;
  used: number;
  values: Set<string> | undefined;
};

/** A change to be written down; `value` is one more of those that are counted once each. */
export type Change = {
  readonly subject: string;
  readonly unit: Unit;
  readonly period: Period;
  readonly limit: number;
  readonly at: number;
  readonly used: number;
  readonly value?: string;
};

/** Subjects that are counted at a time; the one that was not asked for longest is forgotten. */
const MAX_SUBJECTS = 200_000;
/** What a worker may be given beyond its need: a part of what is left, so that a limit that is near is asked for each time. */
const MOST_EXTRA = 1000;
/** Messages that a bucket's lease may be late by. */
const BUCKET_LEASE_MS = 10_000;

export class Counters {
  readonly #bySubject = new Map<string, Map<string, Counter>>();
  readonly #changed: (change: Change) => void;

  constructor(changed: (change: Change) => void = () => {}) {
    this.#changed = changed;
  }

  /** All of it or nothing. `workers`: how many may hold something; 0: nothing beyond the needs is given. */
  take(needs: readonly Need[], nowMs: number, workers: number): readonly Lease[] | Over {
    for (let i = 0; i < needs.length; i++) {
      const need = needs[i] as Need;
      const counter = this.#counter(need, nowMs);
      const isKnown = need.value !== undefined && counter.values?.has(need.value) === true;
      const more = this.#wanted(needs, i, counter);
      if (!isKnown && counter.used + more > need.rule.limit)
        return { over: i, retryMs: this.#retryMs(counter, need, nowMs) };
    }
    return needs.map((need) => {
      const counter = this.#counter(need, nowMs);
      const { rule, count, value } = need;
      if (value !== undefined) {
        counter.values ??= new Set();
        if (!counter.values.has(value)) {
          counter.values.add(value);
          counter.used = counter.values.size;
          this.#tell(need.subject, counter, value);
        }
        const { end } = windowOf(rule.period, nowMs);
        return { count: 0, start: counter.at, until: end, left: rule.limit - counter.used };
      }
      const left = rule.limit - counter.used - count;
      const extra = workers === 0 ? 0 : Math.min(Math.floor(left / (4 * workers)), Math.max(MOST_EXTRA, count * 100));
      counter.used += count + extra;
      this.#tell(need.subject, counter);
      const isFilling = isBucket(rule);
      return {
        count: extra,
        start: isFilling ? 0 : counter.at,
        until: isFilling ? nowMs + BUCKET_LEASE_MS : windowOf(rule.period, nowMs).end,
        left: Math.floor(left),
      };
    });
  }

  /** Counted without asking: it has happened while nobody could be asked. */
  spend(needs: readonly Need[], nowMs: number): void {
    for (const need of needs) {
      const counter = this.#counter(need, nowMs);
      if (need.value === undefined) counter.used += need.count;
      else {
        counter.values ??= new Set();
        // Beside what was counted here the workers' shares are at most the limit once more; that is the bound of what is kept.
        if (counter.values.size < 2 * need.rule.limit) counter.values.add(need.value);
        counter.used = counter.values.size;
      }
      this.#tell(need.subject, counter, need.value);
    }
  }

  /** What was granted and not used. Of another window it is forgotten. */
  giveBack(subject: string, rule: Rule, start: number, count: number, nowMs: number): void {
    const counter = this.#bySubject.get(subject)?.get(keyOf(rule));
    if (!counter || counter.values) return;
    this.#advance(counter, nowMs);
    if (!isBucket(rule) && counter.at !== start) return;
    counter.used = Math.max(0, counter.used - count);
    this.#tell(subject, counter);
  }

  /** Of the subject and of its identities, those that are used at all. */
  list(subject: string, nowMs: number): readonly Count[] {
    const counts: Count[] = [];
    for (const counter of this.#bySubject.get(subject)?.values() ?? []) {
      this.#advance(counter, nowMs);
      if (counter.used <= 0) continue;
      const { unit, period } = counter.rule;
      const endsAt = isBucket(counter.rule)
        ? nowMs + (counter.used / counter.limit) * fillMs(period)
        : windowOf(period, nowMs).end;
      counts.push({ unit, period, limit: counter.limit, used: Math.ceil(counter.used), endsAt });
    }
    return counts;
  }

  get subjects(): number {
    return this.#bySubject.size;
  }

  /** Forgets what is not used any more. */
  tidy(nowMs: number): void {
    for (const [subject, counters] of this.#bySubject) {
      for (const [key, counter] of counters) {
        this.#advance(counter, nowMs);
        if (counter.used <= 0) counters.delete(key);
      }
      if (counters.size === 0) this.#bySubject.delete(subject);
    }
  }

  /** A change that was written down before. */
  restore({ subject, unit, period, limit, at, used, value }: Change): void {
    const counters = this.#countersOf(subject);
    const key = keyOf({ unit, period });
    let counter = counters.get(key);
    if (!counter || (counter.at !== at && counter.values)) {
      counter = { rule: { unit, period }, limit, at, used, values: isDistinct(unit) ? new Set() : undefined };
      counters.set(key, counter);
    }
    Object.assign(counter, { limit, at, used });
    if (value !== undefined) {
      counter.values?.add(value);
      counter.used = counter.values?.size ?? used;
    }
  }

  /** Everything, as changes from nothing. */
  *all(): Generator<Change> {
    for (const [subject, counters] of this.#bySubject) {
      for (const { rule, limit, at, used, values } of counters.values()) {
        if (!values) yield { subject, ...rule, limit, at, used };
        else for (const value of values) yield { subject, ...rule, limit, at, used, value };
      }
    }
  }

  /** How many of this counter the needs up to this one ask for together; what it has counted already is none. */
  #wanted(needs: readonly Need[], at: number, { values }: Counter): number {
    const { subject, rule } = needs[at] as Need;
    let sum = 0;
    for (let i = 0; i <= at; i++) {
      const need = needs[i] as Need;
      if (need.subject !== subject || need.rule.unit !== rule.unit || need.rule.period !== rule.period) continue;
      if (need.value === undefined || !values?.has(need.value)) sum += need.count;
    }
    return sum;
  }

  #countersOf(subject: string): Map<string, Counter> {
    const counters = this.#bySubject.get(subject) ?? new Map<string, Counter>();
    putLast(this.#bySubject, subject, counters, MAX_SUBJECTS);
    return counters;
  }

  #counter({ subject, rule }: Need, nowMs: number): Counter {
    const counters = this.#countersOf(subject);
    const key = keyOf(rule);
    let counter = counters.get(key);
    if (!counter) {
      const { unit, period, limit } = rule;
      const values = isDistinct(unit) ? new Set<string>() : undefined;
      counter = { rule: { unit, period }, limit, at: startOf(rule, nowMs), used: 0, values };
      counters.set(key, counter);
    }
    counter.limit = rule.limit;
    this.#advance(counter, nowMs);
    return counter;
  }

  /** A bucket fills, a window ends. */
  #advance(counter: Counter, nowMs: number): void {
    if (isBucket(counter.rule)) {
      const passedMs = Math.max(0, nowMs - counter.at);
      counter.used = Math.max(0, counter.used - (passedMs / fillMs(counter.rule.period)) * counter.limit);
      counter.at = nowMs;
      return;
    }
    const { start } = windowOf(counter.rule.period, nowMs);
    // A clock that was set back ends no window.
    if (start <= counter.at) return;
    counter.at = start;
    counter.used = 0;
    counter.values?.clear();
  }

  #retryMs(counter: Counter, { rule, count }: Need, nowMs: number): number {
    if (!isBucket(rule)) return windowOf(rule.period, nowMs).end - nowMs;
    if (rule.limit === 0 || count > rule.limit) return fillMs(rule.period);
    return ((counter.used + count - rule.limit) / rule.limit) * fillMs(rule.period);
  }

  #tell(subject: string, { rule, limit, at, used }: Counter, value?: string): void {
    this.#changed({ subject, ...rule, limit, at, used, ...(value !== undefined && { value }) });
  }
}

function keyOf({ unit, period }: Pick<Rule, 'unit' | 'period'>): string {
  return `${unit}/${period}`;
}

function startOf(rule: Rule, nowMs: number): number {
  return isBucket(rule) ? nowMs : windowOf(rule.period, nowMs).start;
}
