/** The rules of a configuration on attempts that the journal has: what each would have matched, before it does so. */
import { tmpdir } from 'node:os';
import type { Config } from '../config/schema.ts';
import { filterThreads } from '../filter/all.ts';
import type { Mail } from '../filter/filter.ts';
import { Message } from '../filter/message.ts';
import { PLACES, type RulePlace } from '../filter/rule-places.ts';
import { rules } from '../filter/rules.ts';
import { runFilters } from '../filter/run.ts';
import { systemClock } from '../kit/clock.ts';
import { silentLog } from '../kit/log.ts';
import type { Attempt } from '../record/events.ts';
import { bare } from '../record/privacy.ts';
import { SpoolBudget, SpooledBody } from '../wire/spool.ts';

type Rule = Config['rule'][number];

export type Tried = {
  readonly rule: Rule;
  /** what it looks at that the journal does not have; then it was not tried */
  readonly missing: readonly RulePlace[];
  readonly matched: readonly Attempt[];
};

/** What the journal has of a message. */
const KEPT: readonly RulePlace[] = ['sender', 'recipient', 'helo'];
const NO_MESSAGE = new Message(new SpooledBody(new SpoolBudget(0), 0, tmpdir()));

export async function tryRules(config: Config, attempts: readonly Attempt[]): Promise<Tried[]> {
  const tried = config.rule.map((rule) => {
    const missing = PLACES.filter((place) => rule[place] !== undefined && !KEPT.includes(place));
    return { rule, missing, matched: [] as Attempt[] };
  });
  const threads = filterThreads(config);
  try {
    const rule = tried.filter(({ missing }) => missing.length === 0).map((one) => one.rule);
    const deps = { log: silentLog, clock: systemClock, threads, inquire: () => Promise.reject(new Error('not asked')) };
    const filter = rules({ ...config, rule }, deps);
    if (!filter) return tried;
    for (const attempt of attempts) {
      const { findings, failures } = await runFilters([filter], mailOf(attempt), config.filters.deadline);
      const [failure] = failures;
      if (failure) throw new Error(failure.reason);
      for (const { name } of findings) tried.find((one) => one.rule.name === name)?.matched.push(attempt);
    }
    return tried;
  } finally {
    await threads.close();
  }
}

/** A network that keeps hashes, or nothing, has no addresses to match. */
export function hasAddresses({ sender }: Attempt): boolean {
  return sender !== undefined && sender !== '' && !sender.startsWith('hash:');
}

function mailOf({ source, network, destination, helo = '', sender = '', recipients }: Attempt): Mail {
  return {
    source,
    subscriber: source,
    network,
    destination,
    helo: onWire(helo),
    isEarly: false,
    sender: sender === '<>' ? '' : onWire(sender),
    recipients: recipients.map(({ recipient }) => onWire(recipient)),
    message: NO_MESSAGE,
  };
}

/** One character for each octet and no brackets, as the filters are given it. */
function onWire(text: string): string {
  return Buffer.from(bare(text)).toString('latin1');
}
