/**
 * What a configuration would say to attempts that the journal has: their facts go through the same decisions, in the order
 * of the way (gateway/way.ts), with limits, locks and steps counted at the time of each attempt.
 *
 * Counts begin at nothing. What the journal does not have stays as it was: how connections overlapped, TLS, what filters
 * would have found that had not looked, and what the far side would say to a message that it has not seen. A host that is
 * refused does not try again.
 */
import type { Config, Network } from '../../config/schema.ts';
import type { Filter, FilterSet } from './filters.ts';
import { identityOf } from '../../identity/extract.ts';
import { identitySubject, type Limits } from '../../identity/limits.ts';
import { type Sender, type Senders, sendersOf, subjectOf } from '../../identity/senders.ts';
import { contains, parseAddress } from '../../kit/address.ts';
import { shortHash } from '../../kit/ids.ts';
import { silentLog } from '../../kit/log.ts';
import { Counters, type Need } from '../../ledger/counters.ts';
import { Quotas } from '../../ledger/quotas.ts';
import type { Class } from '../../policy/classes.ts';
import { decideFound, decideIdentity, decideRecipient, type Judged, pointsOf } from '../../policy/decide.ts';
import { type Exception, exceptionFor } from '../../policy/exceptions.ts';
import { isBucket, limitClass, type Rule, windowOf } from '../../policy/limits.ts';
import { decideSender } from '../../policy/senders.ts';
import { verdictOf } from '../../policy/verdict.ts';
import type { RecipientOutcome } from '../../record/events.ts';
import type { Fact } from '../../record/facts.ts';
import { Rungs } from './rungs.ts';

/** `gone`: its connection would not have been. */
export type Outcome = {
  readonly subject: string;
  readonly isObserved: boolean;
  readonly class: Class | undefined | 'gone';
};

/** Connections whose later attempts may still come. */
const MAX_SESSIONS = 50_000;

export class Replay {
  readonly #senders: Senders;
  readonly #exceptions: readonly Exception[];
  readonly #exemptTo: Config['exemptTo'];
  readonly #filters: FilterSet;
  readonly #counters = new Counters();
  readonly #quotas = new Quotas(undefined, silentLog);
  readonly #rungs: Rungs;
  readonly #bySource = new Map<string, { readonly sender: Sender; readonly subject: string } | undefined>();
  /** whether it was refused: those of late, and those before them */
  #sessions = new Map<string, boolean>();
  #earlier: ReadonlyMap<string, boolean> = new Map();

  constructor(config: Config, filters: FilterSet) {
    this.#exceptions = config.exception;
    this.#exemptTo = config.exemptTo;
    this.#senders = sendersOf(config);
    this.#filters = filters;
    this.#rungs = new Rungs(config);
  }

  judge(fact: Fact): Outcome {
    const whose = this.#whose(fact.source);
    if (!whose) return { subject: fact.source, isObserved: false, class: 'network.none' };
    const { sender, subject } = whose;
    const mode = this.#rungs.modeOf(sender, subject, fact.at);
    const network = mode === sender.network.mode ? sender.network : { ...sender.network, mode };
    const identity = identityFor(network, fact);
    const one = new Judgement(fact, { network, limits: sender.limits, subject, identity }, this.#exceptions);
    const found = this.#way(one);
    if (found === 'gone') return { subject, isObserved: false, class: 'gone' };
    const observed = found === undefined && one.wouldBe !== undefined && mode === 'observe';
    const of = found ?? one.wouldBe;
    const points = pointsOf(one.judged);
    const after = {
      ...fact,
      ...(points && { points }),
      network: network.name,
      identity: one.hasMessage ? identity : undefined,
      mode,
      class: found ?? 'accepted.clean',
      wouldBe: one.wouldBe,
      verdict: found === undefined ? ('accept' as const) : verdictOf(found).kind,
    };
    this.#rungs.seen(after, subject);
    this.#quotas.seen(after, subject);
    return { subject, isObserved: observed, class: of };
  }

  #whose(source: string): { readonly sender: Sender; readonly subject: string } | undefined {
    if (this.#bySource.has(source)) return this.#bySource.get(source);
    const sender = this.#senders.find(source);
    const whose = sender && { sender, subject: subjectOf(sender, source) };
    this.#bySource.set(source, whose);
    return whose;
  }

  /** The class that refuses it; undefined when nothing does. */
  #way(one: Judgement): Class | undefined | 'gone' {
    const { fact, network } = one;
    if (network.mode === 'exempt' || this.#isExempt(one)) return undefined;
    const connection = this.#connection(one);
    if (connection !== undefined) return connection;
    // Refused before it could say anything: by something else than what is judged here, or nothing is known of it.
    if (fact.sender === undefined) return isJudged(fact, fact.class) ? undefined : asItWas(fact);
    return this.#transaction(one) ?? (isJudged(fact, fact.class) ? undefined : asItWas(fact));
  }

  /** Its server's connections are not intercepted; modes that refuse win. */
  #isExempt({ fact, network }: Judgement): boolean {
    if (this.#exemptTo.length === 0 || network.mode === 'block' || network.mode === 'smarthost-only') return false;
    const address = parseAddress(fact.destination);
    return (
      address !== undefined &&
      this.#exemptTo.some(
        ({ prefixes, until }) =>
          (until === undefined || fact.at < until) && prefixes.some((prefix) => contains(prefix, address)),
      )
    );
  }

  #connection(one: Judgement): Class | undefined | 'gone' {
    const { fact } = one;
    const before = this.#sessions.get(fact.session) ?? this.#earlier.get(fact.session);
    if (before !== undefined) return before ? 'gone' : undefined;
    const refused = this.#refused(one);
    if (this.#sessions.size >= MAX_SESSIONS) {
      this.#earlier = this.#sessions;
      this.#sessions = new Map();
    }
    this.#sessions.set(fact.session, refused !== undefined);
    return refused;
  }

  /** Why its connection is not taken. */
  #refused(one: Judgement): Class | undefined {
    if (one.network.mode === 'block') return 'network.block';
    if (one.network.mode === 'smarthost-only') return 'network.smarthost-only';
    const over = this.#take(one, needsOf(one.subject, one.limits?.connection ?? []));
    return over === undefined ? undefined : one.refuse(over);
  }

  #transaction(one: Judgement): Class | undefined {
    const { fact, network } = one;
    const path = `<${fact.sender === '<>' ? '' : fact.sender}>`;
    const lock = this.#rungs.lockOf(one.subject, undefined, fact.at);
    const early = this.#judged(one, 'early').filter((each) => !one.isExcused(each.class));
    const accepted: RecipientOutcome[] = [];
    let last: Class | undefined;
    let messageOver: Class | undefined | 'not asked' = 'not asked';
    const reserved: Need[] = [];
    for (const [i, recipient] of fact.recipients.entries()) {
      const refused =
        one.decide(decideRecipient(lock, network.mode)) ??
        one.decide(decideSender(network, path, () => i)) ??
        one.decide(early.length > 0 ? decideFound(early, network, (of) => one.isExcused(of)) : undefined);
      if (refused !== undefined) {
        last = refused;
        continue;
      }
      if (one.limits && messageOver === 'not asked') {
        const needs = this.#messageNeeds(one);
        messageOver = this.#take(one, needs);
        if (messageOver === undefined) reserved.push(...needs);
      }
      const over = messageOver === 'not asked' ? undefined : (messageOver ?? this.#recipient(one, recipient));
      const stopped = over === undefined ? undefined : one.refuse(over);
      if (stopped !== undefined) {
        last = stopped;
        continue;
      }
      // One that was refused here before is one that the far side would have taken.
      if (recipient.code < 300 || isJudged(fact, recipient.class)) accepted.push(recipient);
      // The last reply names what became of all, and this one is the far side's.
      last = undefined;
    }
    if (accepted.length === 0) {
      this.#giveBack(one, reserved);
      return last;
    }
    one.hasMessage = true;
    const refused = this.#message(one, accepted, reserved);
    if (refused !== undefined || (fact.verdict !== 'accept' && !isJudged(fact, fact.class)))
      this.#giveBack(one, reserved);
    return refused;
  }

  #message(one: Judgement, accepted: readonly RecipientOutcome[], reserved: Need[]): Class | undefined {
    const { fact, network, identity, limits, subject } = one;
    if (identity !== undefined) {
      const lock = this.#rungs.lockOf(subject, identity, fact.at);
      const locked = lock && one.decide(decideIdentity(lock, network.mode));
      if (locked !== undefined) return locked;
    }
    const seen = [...this.#judged(one, 'early'), ...(network.content === 'blind' ? [] : this.#judged(one, 'body'))];
    const all = seen.filter((each) => !one.isExcused(each.class));
    one.judged = all;
    const found = one.decide(decideFound(all, network, (of) => one.isExcused(of)));
    if (found !== undefined || !limits) return found;
    const steps = [
      needsOf(subject, limits.bytes, fact.sizeBytes),
      identity === undefined ? [] : identityNeeds(limits, identitySubject(subject, identity), one, accepted),
    ];
    for (const needs of steps) {
      const over = this.#take(one, needs);
      if (over === undefined) reserved.push(...needs.filter(({ rule }) => rule.unit !== 'unknown'));
      const refused = over === undefined ? undefined : one.refuse(over);
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  #recipient(one: Judgement, { recipient, code, class: of }: RecipientOutcome): Class | undefined {
    const limits = one.limits as Limits;
    const needs = needsOf(one.subject, limits.recipient);
    for (const rule of limits.domain)
      needs.push({ subject: one.subject, rule, count: 1, value: shortHash(domainOf(recipient)) });
    const over = this.#take(one, needs);
    if (over !== undefined) return over;
    const isUnknown = of === 'upstream.reply' && (code === 550 || code === 551 || code === 553);
    if (isUnknown) one.unknown++;
    const isTaken = code < 300 || isJudged(one.fact, of);
    this.#giveBack(
      one,
      needs.filter(({ rule: { unit } }) => (unit === 'recipients' ? !isTaken : unit === 'unknown' && !isUnknown)),
    );
    return undefined;
  }

  #messageNeeds({ fact, limits, subject }: Judgement): Need[] {
    const needs = needsOf(subject, limits?.message ?? []);
    const { sender } = fact;
    if (sender !== undefined && sender !== '<>')
      for (const rule of limits?.sender ?? [])
        needs.push({ subject, rule, count: 1, value: shortHash(`<${sender}>`.toLowerCase()) });
    return needs;
  }

  /** The class of the limit that is reached; undefined: all were counted. */
  #take({ fact }: Judgement, asked: readonly Need[]): Class | undefined {
    if (asked.length === 0) return undefined;
    const needs = asked.map((need) =>
      need.rule.earned ? { ...need, rule: this.#quotas.ruleFor(need.subject, need.rule, fact.at) } : need,
    );
    const taken = this.#counters.take(needs, fact.at, 0);
    return 'over' in taken ? limitClass[(needs[taken.over] as Need).rule.unit] : undefined;
  }

  #giveBack({ fact }: Judgement, needs: readonly Need[]): void {
    for (const { subject, rule, count, value } of needs) {
      if (value !== undefined) continue;
      const start = isBucket(rule) ? 0 : windowOf(rule.period, fact.at).start;
      this.#counters.giveBack(subject, rule, start, count, fact.at);
    }
  }

  #judged({ fact }: Judgement, when: 'early' | 'body'): Judged[] {
    if (fact.findings.length === 0) return NO_JUDGED;
    return fact.findings.flatMap(({ filter: by, name, score, class: of }) => {
      const filter: Filter | undefined = this.#filters.get(by);
      if (!filter || of === undefined || (filter.stage === 'body') !== (when === 'body')) return [];
      return [{ class: of, action: filter.actionOf(of, name), score, by }];
    });
  }
}

const NO_JUDGED: Judged[] = [];

type Whose = {
  readonly network: Network;
  readonly limits: Limits | undefined;
  readonly subject: string;
  readonly identity: string | undefined;
};

/** One attempt while it is judged. */
class Judgement {
  readonly fact: Fact;
  readonly #exceptions: readonly Exception[];
  readonly network: Network;
  readonly limits: Limits | undefined;
  readonly subject: string;
  readonly identity: string | undefined;
  wouldBe: Class | undefined;
  judged: readonly Judged[] = NO_JUDGED;
  unknown = 0;
  hasMessage = false;

  constructor(fact: Fact, { network, limits, subject, identity }: Whose, exceptions: readonly Exception[]) {
    this.#exceptions = exceptions;
    this.fact = fact;
    this.network = network;
    this.limits = limits;
    this.subject = subject;
    this.identity = identity;
  }

  decide(decision: ReturnType<typeof decideFound> | undefined): Class | undefined {
    if (!decision) return undefined;
    const of = decision.wouldBe ?? (decision.verdict.kind === 'accept' ? undefined : decision.verdict.class);
    if (of === undefined || this.isExcused(of)) return undefined;
    this.wouldBe ??= decision.wouldBe;
    return decision.verdict.kind === 'accept' ? undefined : decision.verdict.class;
  }

  isExcused(of: Class): boolean {
    const { source, destination, at } = this.fact;
    // Who it is, is known when the message is there.
    const identity = this.hasMessage ? this.identity : undefined;
    return exceptionFor(this.#exceptions, of, { source, destination, identity }, at) !== undefined;
  }

  /** The class, unless mode "observe" lets it pass. */
  refuse(of: Class): Class | undefined {
    if (this.isExcused(of)) return undefined;
    if (this.network.mode !== 'observe') return of;
    this.wouldBe ??= of;
    return undefined;
  }
}

function needsOf(subject: string, rules: readonly Rule[], count = 1): Need[] {
  return rules.map((rule) => ({ subject, rule, count }));
}

function identityNeeds(
  { identity: rules }: Limits,
  subject: string,
  { fact, unknown }: Judgement,
  accepted: readonly RecipientOutcome[],
): Need[] {
  const counts: Partial<Record<Rule['unit'], number>> = {
    messages: 1,
    recipients: accepted.length,
    bytes: fact.sizeBytes,
    unknown,
  };
  return rules.flatMap((rule) => {
    const { unit } = rule;
    if (unit === 'domains')
      return [...new Set(accepted.map(({ recipient }) => domainOf(recipient)))].map((domain) => ({
        ...{ subject, rule, count: 1 },
        value: shortHash(domain),
      }));
    if (unit === 'senders')
      return fact.sender === '<>'
        ? []
        : [{ subject, rule, count: 1, value: shortHash(`<${fact.sender}>`.toLowerCase()) }];
    return counts[unit] ? [{ subject, rule, count: counts[unit] ?? 0 }] : [];
  });
}

/** What the journal has found, or what can be found without the message. */
function identityFor({ identity: rules }: Network, { identity, sender, helo = '' }: Fact): string | undefined {
  if (rules.length === 0 || sender === undefined) return undefined;
  if (identity !== undefined) return identity;
  const known = rules.filter(({ kind }) => kind !== 'header');
  return known.length === 0 ? undefined : identityOf(known, { sender: `<${sender}>`, helo, fields: undefined });
}

function domainOf(recipient: string): string {
  return recipient.slice(recipient.lastIndexOf('@') + 1).toLowerCase();
}

/** Why it was refused, if it was, by something that is not judged anew. */
function asItWas({ verdict, class: of }: Fact): Class | undefined {
  return verdict === 'accept' || of === 'upstream.reply' || of.startsWith('session.') ? undefined : of;
}

const JUDGED = /^(?:accepted|network|locked|sender)\./;
const JUDGED_LIMITS: ReadonlySet<string> = new Set(Object.values(limitClass));

/** A class of what is decided here anew. */
function isJudged({ findings }: Fact, of: Class): boolean {
  if (JUDGED.test(of) || JUDGED_LIMITS.has(of) || of === 'spam.score') return true;
  return findings.some((finding) => finding.class === of);
}
