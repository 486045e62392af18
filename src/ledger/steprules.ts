/**
 * Automatic steps on the ladder, as the configuration has them: so great a share of bad attempts leads to a stricter mode.
 *
 * Counted by tenths of the rule's time, so that a host that sends much costs no more than one that sends little. Only what
 * came over an accepted connection counts: a forged SYN moves nobody.
 */
import { putLast } from '../kit/recent.ts';
import { isStricter, type Mode } from '../policy/ladder.ts';
import type { Attempt } from '../record/events.ts';
import { type Classed, isOf } from './lockrules.ts';

export type StepRule = {
  readonly name: string;
  /** `main.sub`, or `main` for all of its classes */
  readonly classes: readonly string[];
  readonly share: number;
  readonly least: number;
  readonly within: number;
  readonly of: 'subscriber' | 'network';
  readonly mode: Mode;
  readonly networks: readonly string[];
};

export type StepWish<R extends StepRule> = {
  readonly rule: R;
  readonly attempts: number;
  readonly bad: number;
  /** ids of the last bad attempts, at most 10 */
  readonly evidence: readonly string[];
};

type Counted = Pick<Attempt, 'wouldBe' | 'points' | 'id' | 'at'> & Classed;
type Tenth = { readonly start: number; attempts: number; bad: number };
type Seen = { tenths: Tenth[]; evidence: string[] };

/** Subjects that are watched at a time; beyond it the oldest is forgotten. */
const MAX_WATCHED = 100_000;
const MAX_EVIDENCE = 10;

export class StepRules<R extends StepRule> {
  #rules: readonly R[];
  readonly #seen = new Map<string, Seen>();

  constructor(rules: readonly R[]) {
    this.#rules = rules;
  }

  configure(rules: readonly R[]): void {
    this.#rules = rules;
  }

  /** The steps that this attempt leads to. `subscriber`: whom it counts for. */
  seen(attempt: Counted & Pick<Attempt, 'network' | 'mode'>, subscriber: string): StepWish<R>[] {
    return this.#rules.flatMap((rule) => {
      if (rule.networks.length > 0 && !rule.networks.includes(attempt.network)) return [];
      if (!isStricter(rule.mode, attempt.mode as Mode)) return [];
      const key = `${rule.name} ${rule.of === 'network' ? attempt.network : subscriber}`;
      const seen = this.#count(key, rule, attempt);
      const attempts = seen.tenths.reduce((sum, tenth) => sum + tenth.attempts, 0);
      const bad = seen.tenths.reduce((sum, tenth) => sum + tenth.bad, 0);
      if (bad === 0 || attempts < rule.least || bad * 100 < rule.share * attempts) return [];
      this.#seen.delete(key);
      return [{ rule, attempts, bad, evidence: seen.evidence }];
    });
  }

  #count(key: string, rule: R, { id, at, class: of, wouldBe, points = [] }: Counted): Seen {
    const seen = this.#seen.get(key) ?? { tenths: [], evidence: [] };
    const lengthMs = rule.within / 10;
    const start = Math.floor(at / lengthMs) * lengthMs;
    seen.tenths = seen.tenths.filter((tenth) => tenth.start > at - rule.within);
    let tenth = seen.tenths.at(-1);
    // What comes a little late, from another worker, counts with the newest.
    if (!tenth || tenth.start < start) seen.tenths.push((tenth = { start, attempts: 0, bad: 0 }));
    tenth.attempts++;
    if (rule.classes.some((one) => [wouldBe ?? of, ...points].some((each) => isOf(each, one)))) {
      tenth.bad++;
      seen.evidence = [...seen.evidence, id].slice(-MAX_EVIDENCE);
    }
    putLast(this.#seen, key, seen, MAX_WATCHED);
    return seen;
  }
}
