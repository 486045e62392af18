/** The keeper's locks: by hand, and by the rules of the configuration; what becomes of them is kept. */
import { join } from 'node:path';
import { prefixesOfName } from '../config/effective.ts';
import type { Config } from '../config/schema.ts';
import { parsePrefix, sourceOf } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { LockEvent } from '../ledger/language.ts';
import { LockHistory } from '../ledger/lockhistory.ts';
import { type Classed, LockRules, type LockWish } from '../ledger/lockrules.ts';
import { LockError, Locks } from '../ledger/locks.ts';
import { logged } from '../ledger/logged.ts';
import type { Attempt } from '../record/events.ts';

type Rule = Config['lockRule'][number];

/** Who sets automatic locks, in lists and logs. */
const byRule = (name: string): string => `rule ${name}`;
const RULE = /^rule (.+)$/;

export type KeeperLocks = {
  readonly locks: Locks;
  readonly history: LockHistory;
  /** An attempt that may be one too many. True when somebody was locked for it. */
  readonly seen: (attempt: Omit<Attempt, 'class'> & Classed) => boolean;
  readonly configure: () => void;
};

export function keeperLocks(
  stateDir: string,
  config: () => Config,
  clock: Clock,
  log: Log,
  tell: (event: LockEvent) => void = () => {},
): KeeperLocks {
  const history = new LockHistory(join(stateDir, 'lock-history.jsonl'), log);
  const locks = new Locks(join(stateDir, 'locks.json'), clock, log, {
    management: () => config().locks.management,
    prefixesOf: (name) => prefixesOfName(config(), name),
    onEvent(what, lock, who) {
      const rule = what === 'locked' ? RULE.exec(who)?.[1] : undefined;
      const event = { at: clock.nowMs(), what, who, rule, lock };
      history.add(event);
      tell(event);
    },
  });
  const rules = new LockRules<Rule>(config().lockRule);

  const obey = ({ rule, identity, evidence }: LockWish<Rule>, subject: string): boolean => {
    const whom = { subject: parsePrefix(subject)?.text ?? subject, identity };
    if (locks.of(whom)) return false;
    const nowMs = clock.nowMs();
    const isLast = history.countOf(whom, nowMs - rule.unlockPeriod) >= rule.unlocks;
    try {
      locks.lock({
        ...whom,
        how: identity !== undefined && rule.how === 'kernel' ? 'reject' : rule.how,
        reason: `${rule.count} of ${rule.classes.join(', ')} in ${rule.within / 60_000} min`.slice(0, 200),
        who: byRule(rule.name),
        until: isLast ? undefined : nowMs + rule.for,
        evidence,
      });
      return true;
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
      log.write('warn', 'lock.refused', { rule: rule.name, ...logged(whom), reason: error.message });
      return false;
    }
  };
  return {
    locks,
    history,
    seen(attempt) {
      if (config().lockRule.length === 0) return false;
      const subject = subjectOfAttempt(attempt, config());
      return rules.seen(attempt, subject).filter((wish) => obey(wish, subject)).length > 0;
    },
    configure: () => rules.configure(config().lockRule),
  };
}

/** Whom the worker counted it for, as `subjectOf` has it. */
export function subjectOfAttempt(
  { subscriber, source, network }: Pick<Attempt, 'subscriber' | 'source' | 'network'>,
  config: Config,
): string {
  if (subscriber !== undefined) return `@${subscriber}`;
  return sourceOf(source, config.network.find(({ name }) => name === network)?.ipv6Prefix);
}
