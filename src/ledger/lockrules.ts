/**
 * Automatic locks, as the configuration has them: so many attempts of these classes in so much time lock who made them.
 *
 * Only attempts count, and an attempt needs a connection that was accepted: a forged SYN locks nobody. In mode "observe"
 * nothing of ours is refused, so nobody is locked for what he does there.
 */
import { putLast } from '../kit/recent.ts';
import type { Class } from '../policy/classes.ts';
import type { ComplaintClass } from '../policy/feedback.ts';
import type { Attempt } from '../record/events.ts';

export type LockRule = {
  readonly name: string;
  /** `main.sub`, or `main` for all of its classes */
  readonly classes: readonly string[];
  readonly count: number;
  readonly within: number;
  /** an identity is locked where there is one, else its subscriber */
  readonly lock: 'identity' | 'subscriber';
  readonly networks: readonly string[];
};

export type LockWish<R extends LockRule> = {
  readonly rule: R;
  readonly identity: string | undefined;
  /** ids of the last attempts, at most 10 */
  readonly evidence: readonly string[];
};

type Seen = { times: number[]; ids: string[] };

/** Subjects that are watched at a time; beyond it the oldest is forgotten. */
const MAX_WATCHED = 100_000;
const MAX_EVIDENCE = 10;

export class LockRules<R extends LockRule> {
  #rules: readonly R[];
  readonly #seen = new Map<string, Seen>();

  constructor(rules: readonly R[]) {
    this.#rules = rules;
  }

  configure(rules: readonly R[]): void {
    this.#rules = rules;
  }

  /** What is to be locked because of this attempt. `subject`: whom it counts for. */
  seen(
    attempt: Pick<Attempt, 'points' | 'id' | 'identity' | 'network' | 'mode' | 'at'> & Classed,
    subject: string,
  ): LockWish<R>[] {
    if (this.#rules.length === 0 || attempt.mode === 'observe') return [];
    const counted = attempt.points ? [attempt.class, ...attempt.points] : [attempt.class];
    return this.#rules.flatMap((rule) => {
      if (!rule.classes.some((one) => counted.some((of) => isOf(of, one)))) return [];
      if (rule.networks.length > 0 && !rule.networks.includes(attempt.network)) return [];
      // Whose name is not known is not locked by it, and all others of the subscriber not for him.
      if (rule.lock === 'identity' && attempt.isIdentityHidden) return [];
      const identity = rule.lock === 'identity' ? attempt.identity : undefined;
      const key = `${rule.name} ${subject} ${identity ?? ''}`;
      const seen = this.#seen.get(key) ?? { times: [], ids: [] };
      seen.times = [...seen.times.filter((at) => at > attempt.at - rule.within), attempt.at];
      seen.ids = [...seen.ids, attempt.id].slice(-MAX_EVIDENCE);
      if (seen.times.length < rule.count) {
        putLast(this.#seen, key, seen, MAX_WATCHED);
        return [];
      }
      this.#seen.delete(key);
      return [{ rule, identity, evidence: seen.ids }];
    });
  }
}

/** How an attempt ended, or that there was a complaint about it. */
export type Classed = {
  readonly class: Class | ComplaintClass;
  /** there was an identity, of which the journal has kept no name; the attempt then has none */
  readonly isIdentityHidden?: boolean;
};

/** The class itself, or of its main class. */
export function isOf(of: Classed['class'], one: string): boolean {
  return of === one || of.startsWith(`${one}.`);
}
