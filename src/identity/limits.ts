/** The limits of a subscriber's settings as rules, made once: by the moment at which they are asked for. */
import type { Limit } from '../config/value/quantity.ts';
import type { Network } from '../config/schema.ts';
import type { Rule, Unit } from '../policy/limits.ts';

export type Limits = {
  /** of one new connection */
  readonly connection: readonly Rule[];
  /** of a message's first recipient: it is one message, of one sender */
  readonly message: readonly Rule[];
  readonly sender: readonly Rule[];
  /** of each recipient: it is one, in one domain, and the far side may not know it */
  readonly recipient: readonly Rule[];
  readonly domain: readonly Rule[];
  /** of a whole message */
  readonly bytes: readonly Rule[];
  /** of a whole message, for its identity: by unit */
  readonly identity: readonly Rule[];
  /** the part of a limit from which on replies are held back; 0 is never */
  readonly slowFrom: number;
};

/** Of a connection that is carried unread: `connection` when it begins, `bytes` as it goes on. */
export function opaqueLimitsOf(network: Network): {
  readonly connection: readonly Rule[];
  readonly bytes: readonly Rule[];
} {
  return {
    connection: rules('opaque', network.limitOpaque),
    bytes: rules('opaque-bytes', network.limitOpaqueBytes),
  };
}

/** Undefined when nothing is limited. */
export function limitsOf(network: Network): Limits | undefined {
  const limits: Limits = {
    connection: rules('connections', network.limitConnections),
    message: rules('messages', network.limitMessages),
    sender: rules('senders', network.limitSenders),
    recipient: [...earnedRules(network), ...rules('unknown', network.limitUnknown)],
    domain: rules('domains', network.limitDomains),
    bytes: rules('bytes', network.limitBytes),
    identity: [
      ...rules('messages', network.identityLimitMessages),
      ...rules('recipients', network.identityLimitRecipients),
      ...rules('bytes', network.identityLimitBytes),
      ...rules('domains', network.identityLimitDomains),
      ...rules('senders', network.identityLimitSenders),
      ...rules('unknown', network.identityLimitUnknown),
    ],
    slowFrom: network.slowFrom / 100,
  };
  const { slowFrom: _, ...all } = limits;
  return Object.values(all).some((list) => list.length > 0) ? limits : undefined;
}

/** With an earned quota the limit of a day is what it can become. */
function earnedRules({ limitRecipients, quota, quotaStart: start, quotaBad: bad }: Network): Rule[] {
  const all = rules('recipients', limitRecipients);
  if (quota === 'fixed') return all;
  return all.map((rule) => (rule.period === 'day' ? { ...rule, earned: { start, bad } } : rule));
}

/** Of two for the same period the smaller counts. */
function rules(unit: Unit, list: readonly Limit[]): Rule[] {
  const byPeriod = new Map<string, Rule>();
  for (const { count: limit, period } of list) {
    const before = byPeriod.get(period);
    if (!before || before.limit > limit) byPeriod.set(period, { unit, period, limit });
  }
  return [...byPeriod.values()];
}

/** Under which an identity of a subscriber is counted. No subject has a blank in it. */
export function identitySubject(subject: string, identity: string): string {
  return `${subject} ${identity}`;
}
