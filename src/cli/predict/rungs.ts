/** Locks and steps that the rules of a configuration would lead to, at the time of the attempts. */
import type { Config } from '../../config/schema.ts';
import type { Sender } from '../../identity/senders.ts';
import { LockRules } from '../../ledger/lockrules.ts';
import { StepRules } from '../../ledger/steprules.ts';
import { networkSubject } from '../../ledger/steptable.ts';
import { isClosed, isStricter, type Mode } from '../../policy/ladder.ts';
import { overlaps, parsePrefix } from '../../kit/address.ts';
import type { Attempt } from '../../record/events.ts';

type LockRule = Config['lockRule'][number];
type StepRule = Config['stepRule'][number];
type Lock = { readonly how: LockRule['how']; readonly until: number };
type Seen = Pick<Attempt, 'class' | 'wouldBe' | 'points' | 'id' | 'identity' | 'network' | 'mode' | 'at' | 'source'>;

export class Rungs {
  readonly #config: Config;
  readonly #lockRules: LockRules<LockRule>;
  readonly #stepRules: StepRules<StepRule>;
  readonly #locks = new Map<string, Lock>();
  /** when a rule has locked it */
  readonly #locked = new Map<string, number[]>();
  readonly #steps = new Map<string, { readonly mode: Mode; readonly until: number }>();

  constructor(config: Config) {
    this.#config = config;
    this.#lockRules = new LockRules(config.lockRule);
    this.#stepRules = new StepRules(config.stepRule);
  }

  modeOf({ network, subscriber }: Sender, subject: string, nowMs: number): Mode {
    if (this.#steps.size === 0) return network.mode;
    const held = (name: string): Mode | undefined => {
      const step = this.#steps.get(name);
      return step && nowMs < step.until ? step.mode : undefined;
    };
    const ofNetwork = subscriber?.mode === undefined ? held(networkSubject(network.name)) : undefined;
    return held(subject) ?? ofNetwork ?? network.mode;
  }

  lockOf(subject: string, identity: string | undefined, nowMs: number): Lock | undefined {
    if (this.#locks.size === 0) return undefined;
    const lock = this.#locks.get(keyOf(subject, identity));
    return lock && nowMs < lock.until ? lock : undefined;
  }

  /** What this attempt, judged, leads to. */
  seen(attempt: Seen, subject: string): void {
    if (this.#config.lockRule.length > 0)
      for (const { rule, identity } of this.#lockRules.seen(attempt, subject)) {
        if (identity === undefined && this.#isManaged(attempt.source)) continue;
        const key = keyOf(subject, identity);
        const before = (this.#locked.get(key) ?? []).filter((at) => at >= attempt.at - rule.unlockPeriod);
        const until = before.length >= rule.unlocks ? Number.POSITIVE_INFINITY : attempt.at + rule.for;
        this.#locked.set(key, [...before, attempt.at]);
        this.#locks.set(key, { how: rule.how, until });
      }
    if (this.#config.stepRule.length > 0)
      for (const { rule } of this.#stepRules.seen(attempt, subject)) {
        if (isClosed(rule.mode) && this.#isManaged(attempt.source)) continue;
        const name = rule.of === 'network' ? networkSubject(attempt.network) : subject;
        const before = this.#steps.get(name);
        if (before && attempt.at < before.until && !isStricter(rule.mode, before.mode)) continue;
        this.#steps.set(name, { mode: rule.mode, until: attempt.at + rule.for });
      }
  }

  #isManaged(source: string): boolean {
    const own = parsePrefix(source);
    return own !== undefined && this.#config.locks.management.some((one) => overlaps(one, own));
  }
}

function keyOf(subject: string, identity: string | undefined): string {
  return identity === undefined ? subject : `${subject} ${identity}`;
}
