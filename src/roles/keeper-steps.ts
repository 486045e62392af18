/** The keeper's steps on the ladder: by hand, and by the rules of the configuration; what becomes of them is kept. */
import { join } from 'node:path';
import { prefixesOfName } from '../config/effective.ts';
import type { Config } from '../config/schema.ts';
import { type Sender, type Senders, sendersOf, subjectOf } from '../identity/senders.ts';
import { canonical, overlaps, parsePrefix, type Prefix } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Step, StepEvent } from '../ledger/language.ts';
import type { Classed } from '../ledger/lockrules.ts';
import { StepRules, type StepWish } from '../ledger/steprules.ts';
import { StepError, StepHistory, type StepChange, Steps } from '../ledger/steps.ts';
import { networkSubject } from '../ledger/steptable.ts';
import { isClosed, isStricter } from '../policy/ladder.ts';
import type { Attempt } from '../record/events.ts';
import { subjectOfAttempt } from './keeper-locks.ts';

type Rule = Config['stepRule'][number];

type Found = { readonly sender: Sender; readonly subject: string };

export type KeeperSteps = {
  readonly steps: Steps;
  readonly history: StepHistory;
  /** Throws StepError when there is nobody of that name, or nobody who may be closed. */
  readonly take: (wanted: Omit<Step, 'since'>) => StepChange;
  readonly back: (subject: string, who: string) => StepChange;
  /** Whom an address belongs to. Throws StepError when it is in no network. */
  readonly whoIs: (address: string) => Found;
  /** An attempt that may be one too many. True when somebody has taken a step for it. */
  readonly seen: (attempt: Omit<Attempt, 'class'> & Classed) => boolean;
  readonly configure: () => void;
};

export function keeperSteps(
  stateDir: string,
  config: () => Config,
  clock: Clock,
  log: Log,
  tell: (event: StepEvent) => void = () => {},
): KeeperSteps {
  const history = new StepHistory(join(stateDir, 'step-history.jsonl'), log);
  const steps = new Steps(join(stateDir, 'steps.json'), clock, log, (event) => {
    history.add(event);
    tell(event);
  });
  const rules = new StepRules<Rule>(config().stepRule);
  let known: { readonly config: Config; readonly senders: Senders } | undefined;

  const whoIs = (address: string): Found => {
    if (known?.config !== config()) known = { config: config(), senders: sendersOf(config()) };
    const sender = known.senders.find(address);
    if (!sender) throw new StepError(`${address} is in no network: its connections to port 25 are refused`);
    return { sender, subject: subjectOf(sender, address) };
  };
  /** An address stands for the subscriber that it belongs to. */
  const subjectFor = (given: string): string => {
    const address = canonical(given);
    return address === undefined ? given : whoIs(address).subject;
  };
  const take = (wanted: Omit<Step, 'since'>): StepChange => {
    const subject = subjectFor(wanted.subject);
    const prefixes = prefixesOf(subject, config());
    if (prefixes.length === 0) throw new StepError(`there is no ${subject} in the configuration`);
    const managed = config().locks.management.find((one) => prefixes.some((prefix) => overlaps(one, prefix)));
    if (managed && isClosed(wanted.mode))
      throw new StepError(`${subject} is never closed: ${managed.text} is in locks.management`);
    return steps.take({ ...wanted, subject });
  };
  const obey = ({ rule, attempts, bad, evidence }: StepWish<Rule>, attempt: Omit<Attempt, 'class'>): boolean => {
    const subject = rule.of === 'network' ? networkSubject(attempt.network) : subjectOfAttempt(attempt, config());
    const before = steps.of(subject);
    // Attempts that were on their way when it was taken.
    if (before && !isStricter(rule.mode, before.mode)) return false;
    const classes = rule.classes.join(', ');
    try {
      take({
        subject,
        mode: rule.mode,
        reason: `${bad} of ${attempts} attempts were ${classes} in ${Math.ceil(rule.within / 60_000)} min`.slice(
          0,
          200,
        ),
        who: `rule ${rule.name}`,
        until: clock.nowMs() + rule.for,
        evidence,
      });
      return true;
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      log.write('warn', 'step.refused', { rule: rule.name, subject, reason: error.message });
      return false;
    }
  };
  return {
    steps,
    history,
    take,
    whoIs,
    back: (subject, who) => steps.back(subjectFor(subject), who),
    seen(attempt) {
      if (config().stepRule.length === 0) return false;
      const wishes = rules.seen(attempt, subjectOfAttempt(attempt, config()));
      return wishes.filter((wish) => obey(wish, attempt)).length > 0;
    },
    configure: () => rules.configure(config().stepRule),
  };
}

function prefixesOf(subject: string, config: Config): readonly Prefix[] {
  const [, network] = /^network:(.+)$/.exec(subject) ?? [];
  if (network !== undefined) return config.network.find(({ name }) => name === network)?.prefixes ?? [];
  if (subject.startsWith('@')) return prefixesOfName(config, subject);
  const prefix = parsePrefix(subject);
  return prefix ? [prefix] : [];
}
