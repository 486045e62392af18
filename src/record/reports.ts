/**
 * Who is told of refused messages, and how often: the first of an hour in full, then one digest with the counts of the rest, so
 * that a flood of spam is no flood of reports.
 */
import type { FeedbackType } from '../policy/feedback.ts';
import type { Attempt, Copy } from './events.ts';
import { hourOf } from './hourly.ts';

export type ReportsOptions = {
  readonly nowMs: () => number;
  readonly perHour: () => number;
  /** Sends one in full; false when there is no room for it. */
  readonly report: (reported: Reported) => boolean;
  readonly digest: (digest: Digest) => void;
};

export type Reported = {
  readonly subject: string;
  readonly type: FeedbackType;
  readonly attempt: Attempt;
  readonly copy: Copy | undefined;
};

/** What was refused in an hour beside what was reported in full. */
export type Digest = {
  readonly subject: string;
  /** as the first of them has it: who is to be told hangs on it */
  readonly attempt: Attempt;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** reported in full before */
  readonly reported: number;
  readonly more: number;
  /** of these */
  readonly byClass: Readonly<Record<string, number>>;
  readonly byIdentity: Readonly<Record<string, number>>;
  readonly lastId: string;
};

type Hour = {
  readonly hour: number;
  readonly first: Attempt;
  readonly byClass: Map<string, number>;
  readonly byIdentity: Map<string, number>;
  reported: number;
  more: number;
  lastId: string;
};

const MAX_SUBJECTS = 10_000;
const MAX_COPIES = 200;
const MAX_IDENTITIES = 20;
const OTHERS = '(others)';

export class Reports {
  readonly #options: ReportsOptions;
  readonly #hours = new Map<string, Hour>();
  readonly #copies = new Map<string, Copy>();
  #ignored = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** Refusals that are in no report and no digest: there were too many subjects in an hour. */
  get ignored(): number {
    return this.#ignored;
  }

  /** Of the message of an attempt that is about to come. */
  hold(copy: Copy): void {
    if (this.#copies.size >= MAX_COPIES) {
      const [oldest] = this.#copies.keys();
      if (oldest !== undefined) this.#copies.delete(oldest);
    }
    this.#copies.set(copy.id, copy);
  }

  /** The copy that was held for this attempt: it is held no longer. */
  takeCopy(id: string): Copy | undefined {
    const copy = this.#copies.get(id);
    this.#copies.delete(id);
    return copy;
  }

  refused(reported: Reported): void {
    const { subject, attempt } = reported;
    const hour = this.#hourFor(subject, attempt);
    if (!hour) {
      this.#ignored++;
      return;
    }
    if (hour.reported < this.#options.perHour() && this.#options.report(reported)) {
      hour.reported++;
      return;
    }
    hour.more++;
    hour.lastId = attempt.id;
    hour.byClass.set(attempt.class, (hour.byClass.get(attempt.class) ?? 0) + 1);
    const { identity = '' } = attempt;
    if (identity === '') return;
    const word = hour.byIdentity.has(identity) || hour.byIdentity.size < MAX_IDENTITIES ? identity : OTHERS;
    hour.byIdentity.set(word, (hour.byIdentity.get(word) ?? 0) + 1);
  }

  /** Hours that are over get their digest; to be called each second. */
  tend(): void {
    const now = hourOf(this.#options.nowMs());
    for (const [subject, hour] of this.#hours) if (hour.hour !== now) this.#end(subject, hour);
  }

  /** Refusals of hours that are not over: what no digest will tell of when there is no later. */
  get untold(): number {
    let sum = 0;
    for (const { more } of this.#hours.values()) sum += more;
    return sum;
  }

  #hourFor(subject: string, first: Attempt): Hour | undefined {
    const now = hourOf(this.#options.nowMs());
    const found = this.#hours.get(subject);
    if (found?.hour === now) return found;
    if (found) this.#end(subject, found);
    else if (this.#hours.size >= MAX_SUBJECTS) return undefined;
    const counts = { byClass: new Map<string, number>(), byIdentity: new Map<string, number>() };
    const hour = { hour: now, first, ...counts, reported: 0, more: 0, lastId: first.id };
    this.#hours.set(subject, hour);
    return hour;
  }

  #end(subject: string, { hour, first, byClass, byIdentity, reported, more, lastId }: Hour): void {
    this.#hours.delete(subject);
    if (more === 0) return;
    this.#options.digest({
      ...{ subject, attempt: first, reported, more, lastId },
      sinceMs: hour * 3_600_000,
      untilMs: (hour + 1) * 3_600_000,
      byClass: Object.fromEntries(byClass),
      byIdentity: Object.fromEntries(byIdentity),
    });
  }
}
