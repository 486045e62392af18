/**
 * What one transaction counts against the limits of whom it is from: reserved before anything is asked of the far side, and
 * given back when the far side does not take it. So a count is what the host was answered with 250, to the message.
 */
import { identitySubject, type Limits } from '../identity/limits.ts';
import { shortHash } from '../kit/ids.ts';
import type { Ledger, Need, Taken } from '../ledger/client.ts';
import { MAX_NEEDS } from '../ledger/language.ts';
import type { Rule, Unit } from '../policy/limits.ts';
import type { Reply } from '../smtp/reply.ts';

/** Each rule once, for `count` more. */
export function needsOf(subject: string, rules: readonly Rule[], count = 1): Need[] {
  return rules.map((rule) => ({ subject, rule, count }));
}

export class Counting {
  readonly #ledger: Ledger;
  readonly #limits: Limits;
  readonly #subject: string;
  readonly #messageNeeds: Need[];
  readonly #atMs: number;
  readonly #sender: string;
  #unknown = 0;
  #message: Taken | Promise<Taken> | undefined;
  /** taken for the message as a whole */
  #reserved: Need[] = [];
  #isOver = false;

  /** `atMs`: when the transaction began, milliseconds since 1970. */
  constructor(ledger: Ledger, limits: Limits, subject: string, sender: string, atMs: number) {
    this.#atMs = atMs;
    this.#sender = sender;
    this.#ledger = ledger;
    this.#limits = limits;
    this.#subject = subject;
    this.#messageNeeds = needsOf(subject, limits.message);
    if (limits.sender.length > 0)
      for (const one of this.#senders()) this.#messageNeeds.push(...this.#different(limits.sender, one));
  }

  /** One more recipient. After `ok` or `slow`, its `answered` is to be called once. */
  async recipient(path: string): Promise<{ readonly taken: Taken; readonly answered: (reply: Reply) => void }> {
    const message = await this.#messageTaken();
    if (!isTaken(message)) return { taken: message, answered() {} };
    const { recipient, domain } = this.#limits;
    const needs = needsOf(this.#subject, recipient);
    if (domain.length > 0) needs.push(...this.#different(domain, domainOf(path)));
    const taken = needs.length === 0 ? 'ok' : await this.#ledger.take(needs, this.#limits.slowFrom);
    return {
      taken: taken === 'ok' ? message : taken,
      answered: (reply) => {
        const isUnknown = isUnknownRecipient(reply);
        if (isUnknown) this.#unknown++;
        if (!isTaken(taken)) return;
        const unused = needs.filter(({ rule: { unit } }) =>
          unit === 'recipients' ? reply.code >= 300 : unit === 'unknown' && !isUnknown,
        );
        if (unused.length > 0) this.#ledger.giveBack(unused, this.#atMs);
      },
    };
  }

  /** The whole message, before it goes on. */
  async whole(sizeBytes: number): Promise<Taken> {
    const { bytes, slowFrom } = this.#limits;
    if (bytes.length === 0) return 'ok';
    const needs = needsOf(this.#subject, bytes, sizeBytes);
    const taken = await this.#ledger.take(needs, slowFrom);
    return this.#reserve(needs, taken);
  }

  /** The whole message for who it is from, which is known only now. */
  async byIdentity(
    identity: string,
    { sizeBytes, recipients }: { sizeBytes: number; recipients: readonly string[] },
  ): Promise<Taken> {
    const { identity: rules, slowFrom } = this.#limits;
    const subject = identitySubject(this.#subject, identity);
    const counts: Partial<Record<Unit, number>> = {
      ...{ messages: 1, recipients: recipients.length, bytes: sizeBytes, unknown: this.#unknown },
    };
    const needs: Need[] = [];
    for (const rule of rules) {
      const values =
        rule.unit === 'domains' ? recipients.map(domainOf) : rule.unit === 'senders' ? this.#senders() : undefined;
      if (values) for (const what of new Set(values)) needs.push({ subject, rule, count: 1, value: shortHash(what) });
      // What there is none of is over no limit.
      else if (counts[rule.unit]) needs.push({ subject, rule, count: counts[rule.unit] ?? 0 });
    }
    let answer: Taken = 'ok';
    for (let at = 0; at < needs.length; at += MAX_NEEDS) {
      const some = needs.slice(at, at + MAX_NEEDS);
      const kept = some.filter(({ rule }) => rule.unit !== 'unknown');
      const taken = this.#reserve(kept, await this.#ledger.take(some, slowFrom));
      if (!isTaken(taken)) return taken;
      if (taken === 'slow') answer = taken;
    }
    return answer;
  }

  /** The transaction is over. */
  end(isAccepted: boolean): void {
    this.#isOver = true;
    if (!isAccepted && this.#reserved.length > 0) this.#ledger.giveBack(this.#reserved, this.#atMs);
    this.#reserved = [];
  }

  /** Once for all recipients, which may be asked about side by side. */
  #messageTaken(): Taken | Promise<Taken> {
    if (this.#messageNeeds.length === 0) return 'ok';
    if (this.#message !== undefined) return this.#message;
    const needs = this.#messageNeeds;
    const taken = this.#ledger.take(needs, this.#limits.slowFrom);
    return (this.#message =
      taken instanceof Promise ? taken.then((then) => this.#reserve(needs, then)) : this.#reserve(needs, taken));
  }

  #reserve(needs: readonly Need[], taken: Taken): Taken {
    if (!isTaken(taken)) return taken;
    // The host has gone while the keeper was asked.
    if (this.#isOver) this.#ledger.giveBack(needs, this.#atMs);
    else this.#reserved.push(...needs);
    return taken;
  }

  /** A bounce says nothing about who writes. */
  #senders(): readonly string[] {
    return this.#sender === '<>' ? [] : [this.#sender.toLowerCase()];
  }

  #different(rules: readonly Rule[], what: string): Need[] {
    const value = shortHash(what);
    return rules.map((rule) => ({ subject: this.#subject, rule, count: 1, value }));
  }
}

export function isTaken(taken: Taken): taken is 'ok' | 'slow' {
  return taken === 'ok' || taken === 'slow';
}

export function domainOf(path: string): string {
  return path
    .slice(path.lastIndexOf('@') + 1)
    .replace(/>$/, '')
    .toLowerCase();
}

/**
 * The far side says that there is no such mailbox (RFC 5321 section 4.2.3), and not that it does not like us: where it gives
 * an enhanced code, one about the address (RFC 3463, X.1.X).
 */
export function isUnknownRecipient({ code, bytes, class: of }: Reply): boolean {
  if (of !== 'upstream.reply' || (code !== 550 && code !== 551 && code !== 553)) return false;
  const [, subject] = /^\d{3}[ -]5\.(\d{1,3})\.\d/.exec(bytes.toString('latin1', 0, 16)) ?? [];
  return subject === undefined || subject === '1';
}
