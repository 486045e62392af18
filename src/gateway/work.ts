/** What is known of one transaction while it is on its way, and the event that is made of it at the end. */
import type { Seen } from '../filter/filter.ts';
import type { FilterResult } from '../filter/run.ts';
import type { Sender } from '../identity/senders.ts';
import type { Arrival } from '../intercept/arrival.ts';
import type { Class } from '../policy/classes.ts';
import { type Decision, type Judged, pointsOf } from '../policy/decide.ts';
import type { TlsFacts, TlsPolicy } from '../policy/tls.ts';
import { type Verdict, verdictOf } from '../policy/verdict.ts';
import type { Attempt } from '../record/events.ts';
import type { FarReply, RelayTransaction } from '../relay/relay.ts';
import type { Reply } from '../smtp/reply.ts';
import type { Transaction } from '../smtp/transaction.ts';
import type { Counting } from './counting.ts';

/** Who has connected; `subject` is whom counts are kept for (`subjectOf`). */
export type Whose = Sender & { readonly subject: string };

/** Whose session it is: the same for all its transactions. */
export type Origin = Whose & {
  readonly session: string;
  readonly worker: number;
  readonly arrival: Arrival;
  /** the host spoke before it was greeted */
  readonly isEarly: boolean;
  /** what the filters saw of the connection, if any looked */
  readonly found: FilterResult | undefined;
  /** of the host's leg; undefined in clear */
  readonly tls: TlsFacts | undefined;
};

const VERIFIED: Readonly<Partial<Record<TlsPolicy | 'nothing', string>>> = { tlsa: 'dane', sts: 'mta-sts' };

export class Work {
  readonly origin: Origin;
  readonly transaction: Transaction;
  readonly atMs: number;
  readonly startMs: number;
  relay: RelayTransaction | undefined;
  /** the relay was told that it needs TLS */
  needsTls = false;
  /** who it is behind the subscriber; known when the message is there, if a rule finds one */
  identity: string | undefined;
  messageHash: string | undefined;
  /** undefined until the first recipient, and where nothing is limited */
  counting: Counting | undefined;
  /** the message is being judged or sent: the record waits for its end */
  inFlight = false;
  isRecorded = false;
  wouldBe: Class | undefined;
  /** what the filters saw so far, of connection, envelope and message, and what is to be decided on */
  findings: readonly Seen[];
  judged: readonly Judged[];
  /** the one look at this transaction's envelope */
  enveloped: Promise<Decision> | undefined;
  tags: readonly Class[] = [];
  sizeBytes = 0;
  upstream: string | undefined;
  upstreamReply: string | undefined;
  upstreamTls: string | undefined;
  /** how the server was verified for the recipients so far; undefined: not, or not for all in the same way */
  #verifiedBy: TlsPolicy | 'nothing' | undefined;
  verdictMs: number | undefined;
  relayMs: number | undefined;
  /** the answer to the message, once there is one; what the host was told unless it had gone */
  outcome: Reply | undefined;
  readonly recipientClasses: Class[] = [];

  constructor(origin: Origin, transaction: Transaction, atMs: number, startMs: number) {
    this.origin = origin;
    this.transaction = transaction;
    this.atMs = atMs;
    this.startMs = startMs;
    this.findings = origin.found?.findings ?? [];
    this.judged = origin.found?.judged ?? [];
  }

  found({ findings, judged }: FilterResult): void {
    this.findings = this.findings.length === 0 ? findings : [...this.findings, ...findings];
    this.judged = this.judged.length === 0 ? judged : [...this.judged, ...judged];
  }

  /** For one more recipient. */
  verifiedBy(policy: TlsPolicy | undefined): void {
    const isVerified = policy === 'tlsa' || policy === 'sts';
    const by = isVerified && (this.#verifiedBy ?? policy) === policy ? policy : 'nothing';
    this.#verifiedBy = by;
  }

  get #farTls(): string | undefined {
    const by = VERIFIED[this.#verifiedBy ?? 'nothing'];
    return by !== undefined && this.upstreamTls?.startsWith('TLS') ? `${this.upstreamTls} ${by}` : this.upstreamTls;
  }

  /** `why` is the end that the session saw when there was no answer to a message. */
  toAttempt(helo: string | undefined, esmtp: boolean, why: Class, nowMs: number): Attempt {
    const { class: decided, verdict } = this.#decision(why);
    const points = pointsOf(this.judged);
    return {
      ...attemptBase(this.origin, this.transaction.id, this.atMs, helo, esmtp),
      identity: this.identity === undefined ? undefined : readable(this.identity),
      sender: readable(this.transaction.from.path),
      recipients: this.transaction.recipients.map(({ recipient, code }, i) => ({
        recipient: readable(recipient.path),
        code: code ?? 0,
        class: this.recipientClasses[i] ?? why,
      })),
      ...(this.messageHash !== undefined && { messageHash: this.messageHash }),
      sizeBytes: this.sizeBytes,
      verdict,
      class: decided,
      wouldBe: this.wouldBe,
      ...(points && { points }),
      reply: this.outcome ? textOf(this.outcome) : '',
      upstream: this.upstream,
      upstreamReply: this.upstreamReply,
      upstreamTls: this.#farTls,
      findings: reported(this.findings),
      verdictMs: this.verdictMs && toMicros(this.verdictMs),
      relayMs: this.relayMs && toMicros(this.relayMs),
      totalMs: toMicros(nowMs - this.startMs),
    };
  }

  /**
   * The message's answer decides; without a message, refused recipients do when none stood; else how it ended.
   * The verdict follows the code that was said, since configuration may soften or harden a class.
   */
  #decision(why: Class): { class: Class; verdict: Verdict['kind'] } {
    const said = this.outcome;
    if (said) {
      return { class: said.class ?? this.#acceptedAs(), verdict: kindOf(said.code) };
    }
    const asked = this.transaction.recipients;
    const last = asked.at(-1);
    if (last?.code !== undefined && asked.every(({ code }) => code !== undefined && code >= 400)) {
      return { class: this.recipientClasses.at(-1) ?? why, verdict: kindOf(last.code) };
    }
    return { class: why, verdict: verdictOf(why).kind };
  }

  #acceptedAs(): Class {
    if (this.wouldBe !== undefined) return 'accepted.observed';
    return this.tags.length > 0 ? 'accepted.tagged' : 'accepted.clean';
  }
}

/** A connection that was refused, or ended in refusals, before any transaction. `reason` stands where no reply was said. */
export function refusedArrival(
  origin: Origin,
  atMs: number,
  helo: string | undefined,
  esmtp: boolean,
  why: Class,
  totalMs: number,
  reason = '',
  far?: FarReply,
): Attempt {
  return {
    ...attemptBase(origin, origin.session, atMs, helo, esmtp),
    identity: undefined,
    sender: undefined,
    recipients: [],
    sizeBytes: 0,
    verdict: verdictOf(why).kind,
    class: why,
    wouldBe: undefined,
    reply: reason,
    upstream: far?.server,
    upstreamReply: far && (far.kind === 'failure' ? far.detail : textOf(far)),
    upstreamTls: undefined,
    findings: reported(origin.found?.findings ?? []),
    verdictMs: undefined,
    relayMs: undefined,
    totalMs: toMicros(totalMs),
  };
}

/** With what each stands for, whatever configuration has made of it: so that another can be tried on it. */
function reported(seen: readonly Seen[]): Attempt['findings'] {
  return seen.map(({ filter, name, score, evidence, class: of }) => ({ filter, name, score, evidence, class: of }));
}

function attemptBase(origin: Origin, id: string, atMs: number, helo: string | undefined, esmtp: boolean) {
  const { arrival, network, subscriber, tls } = origin;
  return {
    kind: 'attempt',
    id,
    session: origin.session,
    at: atMs,
    worker: origin.worker,
    network: network.name,
    mode: network.mode,
    subscriber: subscriber?.name,
    tenant: network.tenant,
    source: arrival.source,
    sourcePort: arrival.sourcePort,
    destination: arrival.destination,
    destinationPort: arrival.destinationPort,
    helo: helo === undefined ? undefined : readable(helo),
    esmtp,
    tls: tls && { version: tls.version, cipher: tls.cipher, name: tls.name },
    egress: network.egress,
  } as const;
}

/**
 * What came over the wire, one character for each octet, as people write it: UTF-8 where it is UTF-8 (RFC 6531), the
 * octets as they are where it is not.
 */
export function readable(wire: string): string {
  if (!/[\x80-\xff]/.test(wire)) return wire;
  const text = Buffer.from(wire, 'latin1').toString('utf8');
  return text.includes('\ufffd') ? wire : text;
}

/** Milliseconds to three decimals: the clock has no more, and the differences of floats show more. */
function toMicros(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function kindOf(code: number): Verdict['kind'] {
  return code < 400 ? 'accept' : code < 500 ? 'defer' : 'reject';
}

/** A reply's text for the record, without the bracket of class, id and URL, at most 500 characters. */
export function textOf(reply: Pick<Reply, 'bytes' | 'class'>): string {
  const text = reply.bytes.toString('latin1').trimEnd().replaceAll('\r\n', ' / ');
  const isOurs = reply.class !== undefined && reply.class !== 'upstream.reply';
  const bracket = isOurs && text.endsWith(']') ? text.lastIndexOf(' [') : -1;
  return text.slice(0, Math.min(500, bracket < 0 ? text.length : bracket));
}
