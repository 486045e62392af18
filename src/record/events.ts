/**
 * What happened, one type for each kind of event; journal, metrics and log lines are made from these.
 *
 * An event is made once, by the worker, and never changes a verdict: whoever records it may lose it, and counts the loss.
 */
import { amount, listOf, mapOf, maybe, object, oneOf, type Shape, text, union, whole, yesNo } from '../kit/shape.ts';
import { type Class, isClass } from '../policy/classes.ts';

/** What one filter saw. */
export type Finding = {
  readonly filter: string;
  readonly name: string;
  readonly score: number;
  readonly evidence: string;
  /** what it stands for; rows of earlier releases have none */
  readonly class?: Class;
};

export type RecipientOutcome = { readonly recipient: string; readonly code: number; readonly class: Class };

export type HostTls = { readonly version: string; readonly cipher: string; readonly name: string | undefined };

/** One MAIL transaction, or one connection that was refused before MAIL (`sender` is then undefined). */
export type Attempt = {
  readonly kind: 'attempt';
  readonly id: string;
  readonly session: string;
  readonly at: number;
  readonly worker: number;
  readonly network: string;
  readonly mode: string;
  /** the configured one, if the source belongs to one */
  readonly subscriber: string | undefined;
  /** to whom the host belonged at that time, if to anybody */
  readonly tenant?: string | undefined;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly helo: string | undefined;
  readonly esmtp: boolean;
  /** of the host's leg; undefined in clear */
  readonly tls: HostTls | undefined;
  /** who it is behind the subscriber, if a rule found one */
  readonly identity: string | undefined;
  /** `<>` is the null sender */
  readonly sender: string | undefined;
  readonly recipients: readonly RecipientOutcome[];
  /** how many more there were than one event can carry */
  readonly recipientsOmitted?: number;
  /** stands for its Message-ID: `shortHash` of it, brackets and all */
  readonly messageHash?: string | undefined;
  readonly sizeBytes: number;
  readonly verdict: 'accept' | 'defer' | 'reject';
  readonly class: Class;
  /** in mode "observe": what "enforce" would have said */
  readonly wouldBe: Class | undefined;
  /** what counts towards locks besides, if anything does; not kept in the journal */
  readonly points?: readonly Class[];
  /** code and text of the final reply to the host, without id and URL */
  readonly reply: string;
  readonly egress: 'smarthost' | 'preserve';
  readonly upstream: string | undefined;
  readonly upstreamReply: string | undefined;
  /** of the far leg: `TLSv1.3`, `TLSv1.3 dane`, `TLSv1.3 mta-sts` by how it was verified; `clear`; `trusted`, in clear over a link that the operator vouches for */
  readonly upstreamTls: string | undefined;
  readonly findings: readonly Finding[];
  /** from the final dot to our verdict, and from the verdict to the far side's reply */
  readonly verdictMs: number | undefined;
  readonly relayMs: number | undefined;
  readonly totalMs: number;
};

/** What did not go straight towards the smarthosts. */
export type RelayCounts = {
  /** connections that failed while a message used them */
  readonly faults: number;
  /** envelopes repeated on another connection */
  readonly repeated: number;
  /** messages without an answer to their final dot */
  readonly possibleDuplicates: number;
};

/** Of the hosts' legs. */
export type TlsCounts = {
  /** by how they ended: `done`, `resumed`, or a cause of failure */
  readonly handshakes: Readonly<Record<string, number>>;
  /** recipients whose server was looked at, by `POLICY RESULT` (policy/tls.ts) */
  readonly verified?: Readonly<Record<string, number>>;
  /** times since the worker's start that a configured certificate could not be taken and the one before stayed */
  readonly kept: number;
  /** when the operator's certificate ends */
  readonly endsAt?: number;
};

/** Services that filters ask. */
export const SERVICES = ['rspamd', 'clamd', 'dns'] as const;

/** How a service of one worker has answered since the last batch. */
export type ServiceReport = {
  readonly name: (typeof SERVICES)[number];
  /** it is asked: not left alone after failures */
  readonly up: boolean;
  readonly answered: number;
  readonly failed: number;
  /** not asked, since it is left alone */
  readonly skipped: number;
  /** that all these took together */
  readonly ms: number;
  /** when its definitions were made, in ms since 1970 */
  readonly definitionsAt?: number;
};

/** Counts since the last batch, so that a session costs no event of its own. */
export type SessionCounts = {
  readonly kind: 'sessions';
  readonly worker: number;
  /** by network */
  readonly opened: Readonly<Record<string, number>>;
  /** now, all networks */
  readonly open: number;
  /** connections to servers that hosts have called (egress "preserve"), now */
  readonly preserved: number;
  /** connections that are carried unread, now */
  readonly opaque: number;
  readonly upstream: readonly {
    readonly server: string;
    readonly up: boolean;
    readonly connections: number;
    readonly reason?: string;
  }[];
  readonly relay?: RelayCounts;
  readonly tls?: TlsCounts;
  readonly services?: readonly ServiceReport[];
  /** events this worker had to drop since the last batch, because the keeper was away */
  readonly dropped: number;
};

/**
 * What a report quotes of a refused message; told of before the attempt with this id, and never written anywhere. Made only
 * where somebody is to be sent a report.
 */
export type Copy = {
  readonly kind: 'copy';
  readonly id: string;
  /** the whole message; else its header alone */
  readonly isWhole: boolean;
  /** base64, of the octets without dots and stuffing */
  readonly octets: string;
};

export type WorkerEvent = Attempt | SessionCounts | Copy;

/** A message that is larger is quoted by its header, of which so much. */
export const MAX_COPY_BYTES = 256 * 1024;

/** What one event may hold at most; `fit` cuts to this before it is sent, whoever receives it checks. */
export const BOUNDS = { textLength: 1000, recipients: 10_000, recipientsLength: 256 * 1024, findings: 50 } as const;

/** The event with every string and list cut to `BOUNDS`; what a stranger typed can be of any length. */
export function fit(event: Attempt): Attempt {
  if (fits(event)) return event;
  let room: number = BOUNDS.recipientsLength;
  const recipients: RecipientOutcome[] = [];
  for (const { recipient, code, class: of } of event.recipients) {
    const short = cut(recipient);
    room -= short.length + 40;
    if (recipients.length === BOUNDS.recipients || room < 0) break;
    recipients.push({ recipient: short, code, class: of });
  }
  const omitted = event.recipients.length - recipients.length;
  return {
    ...event,
    helo: cutMaybe(event.helo),
    tls: event.tls && { ...event.tls, name: cutMaybe(event.tls.name) },
    sender: cutMaybe(event.sender),
    recipients,
    ...(omitted > 0 ? { recipientsOmitted: omitted } : {}),
    reply: cut(event.reply),
    upstream: cutMaybe(event.upstream),
    upstreamReply: cutMaybe(event.upstreamReply),
    findings: event.findings.slice(0, BOUNDS.findings).map(({ filter, name, score, evidence, class: of }) => ({
      filter: cut(filter),
      name: cut(name),
      score,
      evidence: cut(evidence),
      ...(of !== undefined && { class: of }),
    })),
  };
}

/** Nothing to cut, as is nearly always so: no copy is made. */
function fits(event: Attempt): boolean {
  const { helo, tls, sender, reply, upstream, upstreamReply, recipients, findings } = event;
  let room: number = BOUNDS.recipientsLength;
  for (const { recipient } of recipients) {
    room -= recipient.length + 40;
    if (!isShort(recipient) || room < 0) return false;
  }
  return (
    isShort(helo) &&
    isShort(tls?.name) &&
    isShort(sender) &&
    isShort(reply) &&
    isShort(upstream) &&
    isShort(upstreamReply) &&
    recipients.length <= BOUNDS.recipients &&
    findings.length <= BOUNDS.findings &&
    findings.every(({ filter, name, evidence }) => isShort(filter) && isShort(name) && isShort(evidence))
  );
}

function isShort(value: string | undefined): boolean {
  return value === undefined || value.length <= BOUNDS.textLength;
}

/** The same for the reasons in counts of sessions. */
export function fitCounts(event: SessionCounts): SessionCounts {
  return {
    ...event,
    upstream: event.upstream.map((one) =>
      one.reason === undefined ? one : { ...one, reason: one.reason.slice(0, 200) },
    ),
  };
}

function cut(value: string): string {
  return value.length > BOUNDS.textLength ? `${value.slice(0, BOUNDS.textLength - 1)}…` : value;
}

function cutMaybe(value: string | undefined): string | undefined {
  return value === undefined ? undefined : cut(value);
}

/** the last moment that a Date can tell */
const LAST_MS = 8_640_000_000_000_000;
const short = text(BOUNDS.textLength);
const aClass: Shape<Class> = (raw): raw is Class => typeof raw === 'string' && isClass(raw);
const score: Shape<number> = (raw): raw is number => Number.isFinite(raw);

const finding: Shape<Finding> = object<Finding>({
  ...{ filter: short, name: short, score, evidence: short },
  class: maybe(aClass) as Shape<Class>,
});
const attempt: Shape<Attempt> = object<Attempt>({
  kind: oneOf('attempt'),
  id: text(64),
  session: text(64),
  at: whole(0, LAST_MS),
  worker: whole(0, 10_000),
  network: text(64),
  mode: text(32),
  subscriber: maybe(text(64)),
  tenant: maybe(text(64)) as Shape<string>,
  source: text(64),
  sourcePort: whole(0, 65_535),
  destination: text(64),
  destinationPort: whole(0, 65_535),
  helo: maybe(short),
  esmtp: yesNo,
  tls: maybe(object<HostTls>({ version: text(32), cipher: text(64), name: maybe(short) })),
  identity: maybe(text(300)),
  sender: maybe(short),
  recipients: listOf(
    object<RecipientOutcome>({ recipient: short, code: whole(0, 999), class: aClass }),
    BOUNDS.recipients,
  ),
  recipientsOmitted: maybe(whole()) as Shape<number>,
  messageHash: maybe(text(16)) as Shape<string>,
  sizeBytes: amount,
  verdict: oneOf('accept', 'defer', 'reject'),
  class: aClass,
  wouldBe: maybe(aClass),
  points: maybe(listOf(aClass, BOUNDS.findings)) as Shape<readonly Class[]>,
  reply: short,
  egress: oneOf('smarthost', 'preserve'),
  upstream: maybe(short),
  upstreamReply: maybe(short),
  upstreamTls: maybe(text(32)),
  findings: listOf(finding, BOUNDS.findings),
  verdictMs: maybe(amount),
  relayMs: maybe(amount),
  totalMs: amount,
});

const sessions: Shape<SessionCounts> = object<SessionCounts>({
  kind: oneOf('sessions'),
  worker: whole(0, 10_000),
  opened: mapOf(whole(), 10_000),
  open: whole(),
  preserved: whole(),
  opaque: whole(),
  upstream: listOf(
    object<SessionCounts['upstream'][number]>({
      server: text(300),
      up: yesNo,
      connections: whole(),
      reason: maybe(short) as Shape<string>,
    }),
    1000,
  ),
  relay: maybe(
    object<RelayCounts>({ faults: whole(), repeated: whole(), possibleDuplicates: whole() }),
  ) as Shape<RelayCounts>,
  tls: maybe(
    object<TlsCounts>({
      handshakes: mapOf(whole(), 100),
      verified: maybe(mapOf(whole(), 100)) as Shape<Readonly<Record<string, number>>>,
      kept: whole(),
      endsAt: maybe(amount) as Shape<number>,
    }),
  ) as Shape<TlsCounts>,
  services: maybe(
    listOf(
      object<ServiceReport>({
        name: oneOf(...SERVICES),
        up: yesNo,
        answered: whole(),
        failed: whole(),
        skipped: whole(),
        ms: amount,
        definitionsAt: maybe(whole()) as Shape<number>,
      }),
      SERVICES.length,
    ),
  ) as Shape<ServiceReport[]>,
  dropped: whole(),
});

const copy: Shape<Copy> = object<Copy>({
  kind: oneOf('copy'),
  id: text(64),
  isWhole: yesNo,
  octets: text(Math.ceil(MAX_COPY_BYTES / 3) * 4),
});

export const isWorkerEvent: Shape<WorkerEvent> = union<WorkerEvent>('kind', { attempt, sessions, copy });
