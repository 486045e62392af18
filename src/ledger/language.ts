/**
 * The language of the keeper's socket: one JSON object a line, version 5.
 *
 * Workers send batches of events and ask for admission; the guard reports the kernel and is told of locks; the CLI asks
 * and gets one answer. A line that does not parse, is longer than 4 MiB, has another version or an unknown kind ends
 * the connection: whoever speaks is not one of us, or of another release.
 */
import { amount, listOf, maybe, object, oneOf, type Shape, text, union, whole, yesNo } from '../kit/shape.ts';
import { type Inquiry, type InquiryAnswer, isInquiry, isInquiryAnswer } from './inquiry.ts';
import { runPaths } from '../kit/run-dir.ts';
import type { Lease, Need, Over } from './counters.ts';
import { LADDER, type Mode } from '../policy/ladder.ts';
import { PERIODS, type Rule, UNITS } from '../policy/limits.ts';
import type { Day, Earned } from '../policy/quota.ts';
import { isWorkerEvent, type WorkerEvent } from '../record/events.ts';
import {
  type JournalState,
  type LogFilter,
  MAX_LOG_ROWS,
  TOP_BY,
  type SourcesQuestion,
  type TopQuestion,
} from '../record/query.ts';

export const VERSION = 5;

/** Where the keeper is found. */
export function keeperSocket(runDir: string): string {
  return runPaths(runDir).keeperSocket;
}

/** How a lock is carried out: in the kernel before accept, or by a reply to every RCPT. */
export type LockHow = 'kernel' | 'defer' | 'reject';

export type Lock = {
  /** a prefix in canonical spelling with its length, `198.51.100.7/32`; a subscriber, `@web-17`; or `tenant:NAME` */
  readonly subject: string;
  /** only who has this name behind the subject */
  readonly identity?: string | undefined;
  readonly how: LockHow;
  readonly reason: string;
  readonly who: string;
  readonly since: number;
  readonly until: number | undefined;
  /** ids of the attempts that led to it */
  readonly evidence?: readonly string[] | undefined;
};

/** A host that did not accept our certificate for the server that it called. */
export type VerifyingPair = {
  /** `subjectOf` */
  readonly subject: string;
  /** `203.0.113.25:25` */
  readonly server: string;
  readonly since: number;
  readonly until: number;
  /** connections of it that were carried unread since then, and their octets both ways */
  readonly carried: number;
  readonly bytes: number;
};

/** What workers have to know of one; `until` 0: forget it. */
export type VerifyingTold = Pick<VerifyingPair, 'subject' | 'server' | 'until'>;

/** What somebody may do in the panel and the API: look, lock and unlock, or all. */
export type Role = 'read' | 'operate' | 'admin';

/** A person with a password, or a token for a program; never the secret. */
export type PersonTold = {
  readonly name: string;
  readonly kind: 'user' | 'token';
  readonly role: Role;
  readonly since: number;
  readonly until: number | undefined;
  /** prefixes that a token may be used from; undefined: from everywhere */
  readonly from: readonly string[] | undefined;
};

/** A server (`203.0.113.25:25`) that had TLS, and until when that counts; 0: no longer. */
export type SecuredTold = { readonly server: string; readonly until: number };

/** What became of a lock, when, and by whom; `rule` is the automatic one that set it. */
export type LockEvent = {
  readonly at: number;
  readonly what: 'locked' | 'unlocked' | 'expired';
  readonly who: string;
  readonly rule: string | undefined;
  readonly lock: Lock;
};

/** Somebody's mode is another than the configuration's for a while. */
export type Step = {
  /** a subscriber as it is counted (`subjectOf`): `@web-17`, `198.51.100.7`, `2001:db8:1:2::/64`; or `network:NAME` */
  readonly subject: string;
  readonly mode: Mode;
  readonly reason: string;
  readonly who: string;
  readonly since: number;
  readonly until: number | undefined;
  /** ids of the attempts that led to it */
  readonly evidence?: readonly string[] | undefined;
};

/** What became of a step, when, and by whom. */
export type StepEvent = {
  readonly at: number;
  readonly what: 'taken' | 'taken-back' | 'ended';
  readonly who: string;
  readonly step: Step;
};

/** What the guard last saw of the kernel. Counters only grow; a rebuilt rule set starts them again. */
export type KernelReport = {
  readonly alive: boolean;
  readonly aliveSince: number;
  readonly repaired: number;
  /** intercept.inside: what comes in through one that is not there is not intercepted. Empty while that is not known. */
  readonly inside: readonly { readonly interface: string; readonly present: boolean }[];
  /** `unrouted` is the network of sources in no network; reasons: unrouted, locked, block, smarthost-only, rate, fence, dead, output, direct */
  readonly refused: readonly { readonly network: string; readonly reason: string; readonly packets: number }[];
  readonly exemptTo: readonly { readonly prefix: string; readonly packets: number }[];
  readonly topRefused: readonly { readonly source: string; readonly packets: number }[];
  readonly workers: readonly {
    readonly worker: number;
    /** since its last answer to a probe; undefined before the first */
    readonly answeredMs: number | undefined;
    /** probes without an answer since the guard's start */
    readonly failures: number;
  }[];
  readonly configErrors: number;
};

/** A worker gives back what it was granted of a limit and does not use; `start` is the window's. */
export type Back = { readonly subject: string; readonly rule: Rule; readonly start: number; readonly count: number };

/** The answer to one of `take`: what is granted beyond each need, or which of them is over its limit. */
export type TakenAnswer =
  | { readonly ask: number; readonly ok: true; readonly leases: readonly Lease[] }
  | ({ readonly ask: number; readonly ok: false } & Over);

export type Counted = { readonly source: string; readonly count: number };

/** To the keeper. */
export type ToKeeper =
  | {
      readonly kind: 'hello';
      readonly v: typeof VERSION;
      readonly role: 'worker' | 'guard' | 'cli';
      readonly worker?: number;
    }
  | { readonly kind: 'events'; readonly batch: readonly WorkerEvent[] }
  /** may these sources open one more connection each? `ask` numbers the question */
  | {
      readonly kind: 'admit';
      readonly asks: readonly { readonly ask: number; readonly source: string; readonly limit: number }[];
    }
  /** what this worker was admitted, no longer uses and gives back */
  | { readonly kind: 'release'; readonly sources: readonly Counted[] }
  /** the answer to `recall`, after the releases that it led to */
  | { readonly kind: 'returned'; readonly of: 'connections' | 'limits'; readonly recall: number }
  /** may all of these be counted? `ask` numbers the question */
  | { readonly kind: 'take'; readonly asks: readonly { readonly ask: number; readonly needs: readonly Need[] }[] }
  | { readonly kind: 'back'; readonly items: readonly Back[] }
  /** counted while the keeper was away */
  | { readonly kind: 'spent'; readonly needs: readonly Need[] }
  /** connections that this worker holds beyond those it was admitted here: all of them after a reconnect */
  | { readonly kind: 'hold'; readonly sources: readonly Counted[] }
  /** what filters ask about messages; what they are about is counted at the same time */
  | { readonly kind: 'inquire'; readonly asks: readonly { readonly ask: number; readonly inquiry: Inquiry }[] }
  /** from the guard, at least each second: five seconds of silence count as not intercepting */
  | { readonly kind: 'kernel'; readonly report: KernelReport }
  /** the CLI's questions; each gets exactly one `answer` with the same `ask` */
  | { readonly kind: 'ask'; readonly ask: number; readonly question: Question };

/** From the keeper. `locks` and `steps` are sent whole after hello and on every change; `verifying` whole after hello, then each change. */
export type FromKeeper =
  | { readonly kind: 'locks'; readonly locks: readonly Lock[] }
  | { readonly kind: 'verifying'; readonly isWhole: boolean; readonly pairs: readonly VerifyingTold[] }
  /** all after hello, then each that is new: beside what the worker knows already */
  | { readonly kind: 'secured'; readonly servers: readonly SecuredTold[] }
  | { readonly kind: 'steps'; readonly steps: readonly Step[] }
  | { readonly kind: 'admitted'; readonly answers: readonly { readonly ask: number; readonly ok: boolean }[] }
  /** give back what is not used of these sources, and for two seconds what ends of them; without sources: of all, once */
  | {
      readonly kind: 'recall';
      readonly of: 'connections' | 'limits';
      readonly recall: number;
      readonly sources?: readonly string[];
    }
  | { readonly kind: 'taken'; readonly answers: readonly TakenAnswer[] }
  | { readonly kind: 'informed'; readonly answers: readonly { readonly ask: number; readonly answer: InquiryAnswer }[] }
  | { readonly kind: 'answer'; readonly ask: number; readonly ok: true; readonly value: unknown }
  | { readonly kind: 'answer'; readonly ask: number; readonly ok: false; readonly error: string };

export type Question =
  | { readonly of: 'status' }
  | { readonly of: 'locks' }
  /** what is counted of a subject: answered with a list of Count */
  | { readonly of: 'counters'; readonly subject: string }
  /** answered with a LockAnswer, as is unlock */
  | { readonly of: 'lock'; readonly lock: Omit<Lock, 'since'> }
  | { readonly of: 'unlock'; readonly subject: string; readonly identity?: string; readonly who: string }
  /** answered with a list of LockEvent, newest first */
  | { readonly of: 'lock-history'; readonly limit: number }
  /** answered with a Whose; an address stands for its subscriber */
  | { readonly of: 'whose'; readonly subject: string }
  /** answered with a list of Step */
  | { readonly of: 'steps' }
  /** answered with a StepAnswer, as is step-back; `subject` may also be an address, which stands for its subscriber */
  | { readonly of: 'step'; readonly step: Omit<Step, 'since'> }
  | { readonly of: 'step-back'; readonly subject: string; readonly who: string }
  /** answered with a list of StepEvent, newest first */
  | { readonly of: 'step-history'; readonly limit: number }
  /** answered with a CaAnswer; `rotate` says who wants another authority from now on */
  | { readonly of: 'ca'; readonly rotate: string | undefined }
  /** answered with a list of VerifyingPair */
  | { readonly of: 'verifying' }
  /** answered with the VerifyingPair that is remembered no more */
  | { readonly of: 'verifying-forget'; readonly subject: string; readonly server: string; readonly who: string }
  /** answered with a list of SourceRow */
  | { readonly of: 'sources'; readonly question: SourcesQuestion }
  /** answered with a list of TopRow, as log is with a LogAnswer; `who` looks, for the record of looks at messages */
  | { readonly of: 'top'; readonly question: TopQuestion; readonly who?: string }
  | { readonly of: 'log'; readonly filter: LogFilter; readonly who?: string }
  /** answered with a list of PersonTold */
  | { readonly of: 'people' }
  /** answered with a PersonTold; the other two as well, and a token with the token besides: `{ person, token }` */
  | {
      readonly of: 'user-add';
      readonly name: string;
      readonly role: Role;
      readonly password: string;
      readonly who: string;
    }
  | {
      readonly of: 'token-add';
      readonly name: string;
      readonly role: Role;
      readonly until: number | undefined;
      readonly from: readonly string[] | undefined;
      readonly who: string;
    }
  | { readonly of: 'person-remove'; readonly name: string; readonly who: string };

/** The lock as it now stands, or as it stood; `notKept` says why the change will not survive a restart, if so. */
export type LockAnswer = { readonly lock: Lock; readonly notKept?: string };

/** `at`: when the day was settled */
export type QuotaStep = { readonly at: number; readonly from: number; readonly to: number; readonly reason: string };

/** The earned quota of recipients a day. */
export type Quota = {
  readonly subject: string;
  readonly quota: number;
  /** what it can become; not known while nobody has asked since the keeper's start */
  readonly most: number | undefined;
  /** what has been seen of this day */
  readonly day: Day;
  /** oldest first */
  readonly steps: readonly QuotaStep[];
};

/** Whom an address belongs to, and what holds for it now. */
export type Whose = {
  readonly subject: string;
  readonly network: string;
  readonly mode: Mode;
  /** that has led to another mode than the configuration's */
  readonly step?: Step;
  /** that holds for it, whoever it is behind it */
  readonly lock?: Lock;
  /** where it is earned, and somebody has sent */
  readonly quota?: Quota;
};

/** The same for a step. */
export type StepAnswer = { readonly step: Step; readonly notKept?: string };

/** The certificate of the authority that hosts may trust, in PEM. */
export type CaAnswer = { readonly certificate: string };

/** What the keeper knows of the whole gateway: the answer to `status`. */
export type Status = {
  readonly version: string;
  readonly name: string;
  readonly startedAt: number;
  readonly uptimeMs: number;
  /** connections are being intercepted: the guard says so, and said so in the last seconds */
  readonly intercepting: boolean;
  /** why not, when not */
  readonly problem: string | undefined;
  /** configured ones */
  readonly subscribers: number;
  readonly networks: readonly {
    readonly name: string;
    readonly mode: string;
    readonly fail: string;
    readonly refuse: string;
    readonly egress: string;
    readonly prefixes: readonly string[];
    readonly maxConnections: number;
  }[];
  /** undefined while no guard has reported */
  readonly kernel: KernelReport | undefined;
  readonly kernelAgeMs: number | undefined;
  readonly workers: {
    readonly configured: number;
    readonly connected: readonly { readonly worker: number; readonly sinceMs: number; readonly open: number }[];
  };
  readonly upstream: readonly {
    readonly server: string;
    /** workers that see it up, of those that have spoken of it */
    readonly up: number;
    readonly of: number;
    readonly connections: number;
    readonly reason: string | undefined;
  }[];
  /** services that filters ask: how many workers do, of those that would */
  readonly services: readonly {
    readonly service: string;
    readonly up: number;
    readonly of: number;
    readonly definitionsAt: number | undefined;
  }[];
  readonly sessionsOpen: number;
  /** connections counted for max_connections, and from how many sources */
  readonly held: { readonly connections: number; readonly sources: number };
  readonly locks: number;
  /** whose mode is another than the configuration's */
  readonly steps: readonly Step[];
  readonly journal: JournalState;
  readonly configErrors: number;
  /** Everything through which mail can leave unseen. */
  readonly waysRound: {
    /** of intercept.inside, those that do not exist */
    readonly missingInterfaces: readonly string[];
    readonly exemptNetworks: readonly { readonly name: string; readonly prefixes: readonly string[] }[];
    readonly exemptTo: readonly { readonly prefix: string; readonly packets: number | undefined }[];
    readonly failOpen: readonly string[];
    /** hosts that verify, each with the server to which it is carried unread */
    readonly unread: number;
  };
};

/** How many items one message may carry; senders split what is longer. */
export const MAX_BATCH = 1000;
/** How many questions about limits: each has several needs. */
export const MAX_TAKES = 100;
export const MAX_NEEDS = 64;
/** and as many steps */
export const MAX_LOCKS = 10_000;
export const MAX_PAIRS = 10_000;
export const MAX_SECURED = 20_000;
export const MAX_REASON = 200;
/** more than a trunk has VLANs */
export const MAX_INSIDE = 5000;

const source = text(64);
/** `subjectOf`, or an identity of it */
const subject = text(400);
const what = { unit: oneOf(...UNITS), period: oneOf(...PERIODS) };
const earned: Shape<Earned> = object<Earned>({ start: whole(), bad: whole() });
const rule: Shape<Rule> = object<Rule>({ ...what, limit: whole(), earned: maybe(earned) as Shape<Earned> });
const need: Shape<Need> = object<Need>({ subject, rule, count: whole(), value: maybe(text(32)) as Shape<string> });
const lease: Shape<Lease> = object<Lease>({
  count: whole(),
  start: whole(),
  until: whole(),
  left: whole(-Number.MAX_SAFE_INTEGER),
  limit: maybe(whole()) as Shape<number>,
});

const how = oneOf('kernel', 'defer', 'reject');
const identity = maybe(text(300)) as Shape<string>;
const lockKeys = {
  subject: source,
  identity,
  how,
  reason: text(MAX_REASON),
  who: text(100),
  until: maybe(whole()),
  evidence: maybe(listOf(text(64), 10)),
};
const lock: Shape<Lock> = object<Lock>({ ...lockKeys, since: whole() });

const pairKeys = { subject: source, server: source, until: whole() };
const told: Shape<VerifyingTold> = object<VerifyingTold>(pairKeys);
export const isVerifyingPair: Shape<VerifyingPair> = object<VerifyingPair>({
  ...pairKeys,
  since: whole(),
  carried: whole(),
  bytes: whole(),
});
const stepKeys = {
  subject: source,
  mode: oneOf(...LADDER),
  reason: text(MAX_REASON),
  who: text(100),
  until: maybe(whole()),
  evidence: maybe(listOf(text(64), 10)),
};
export const isStep: Shape<Step> = object<Step>({ ...stepKeys, since: whole() });

const report: Shape<KernelReport> = object<KernelReport>({
  alive: yesNo,
  aliveSince: whole(),
  repaired: whole(),
  inside: listOf(object({ interface: text(64), present: yesNo }), MAX_INSIDE),
  refused: listOf(object({ network: text(64), reason: text(64), packets: amount }), 100_000),
  exemptTo: listOf(object({ prefix: text(64), packets: amount }), 10_000),
  topRefused: listOf(object({ source, packets: amount }), 1000),
  workers: listOf(
    object<KernelReport['workers'][number]>({ worker: whole(), answeredMs: maybe(amount), failures: whole() }),
    1000,
  ),
  configErrors: whole(),
});

const role = oneOf('read', 'operate', 'admin');

const question: Shape<Question> = union<Question>('of', {
  status: object({ of: oneOf('status') }),
  locks: object({ of: oneOf('locks') }),
  counters: object({ of: oneOf('counters'), subject }),
  lock: object({ of: oneOf('lock'), lock: object<Omit<Lock, 'since'>>(lockKeys) }),
  unlock: object({ of: oneOf('unlock'), subject: source, identity, who: text(100) }),
  'lock-history': object({ of: oneOf('lock-history'), limit: whole(1, 10_000) }),
  whose: object({ of: oneOf('whose'), subject: source }),
  steps: object({ of: oneOf('steps') }),
  step: object({ of: oneOf('step'), step: object<Omit<Step, 'since'>>(stepKeys) }),
  'step-back': object({ of: oneOf('step-back'), subject: source, who: text(100) }),
  'step-history': object({ of: oneOf('step-history'), limit: whole(1, 10_000) }),
  ca: object({ of: oneOf('ca'), rotate: maybe(text(100)) }),
  verifying: object({ of: oneOf('verifying') }),
  'verifying-forget': object({ of: oneOf('verifying-forget'), subject: source, server: source, who: text(100) }),
  top: object({
    of: oneOf('top'),
    who: maybe(text(100)) as Shape<string>,
    question: object<TopQuestion>({
      by: oneOf(...TOP_BY),
      since: whole(),
      class: maybe(text(64)) as Shape<string>,
      limit: whole(1, 10_000),
    }),
  }),
  people: object({ of: oneOf('people') }),
  'user-add': object({ of: oneOf('user-add'), name: text(64), role, password: text(1000), who: text(100) }),
  'token-add': object({
    of: oneOf('token-add'),
    name: text(64),
    role,
    until: maybe(whole()),
    from: maybe(listOf(text(64), 100)),
    who: text(100),
  }),
  'person-remove': object({ of: oneOf('person-remove'), name: text(64), who: text(100) }),
  sources: object({
    of: oneOf('sources'),
    question: object<SourcesQuestion>({ since: whole(), limit: whole(1, 10_000) }),
  }),
  log: object({
    of: oneOf('log'),
    who: maybe(text(100)) as Shape<string>,
    filter: object<LogFilter>({
      since: maybe(whole()) as Shape<number>,
      until: maybe(whole()) as Shape<number>,
      source: maybe(source) as Shape<string>,
      subscriber: maybe(text(64)) as Shape<string>,
      identity: maybe(text(300)) as Shape<string>,
      sender: maybe(text(1000)) as Shape<string>,
      recipient: maybe(text(1000)) as Shape<string>,
      class: maybe(text(64)) as Shape<string>,
      id: maybe(text(64)) as Shape<string>,
      limit: whole(1, MAX_LOG_ROWS),
    }),
  }),
});

const counted = listOf(object({ source, count: whole(1, 1_000_000) }), MAX_BATCH);

type Kinds<T> = T & { readonly kind: string };
const isToKeeper: Shape<ToKeeper> = union<Kinds<ToKeeper>>('kind', {
  hello: object<Extract<ToKeeper, { kind: 'hello' }>>({
    kind: oneOf('hello'),
    v: oneOf(VERSION),
    role: oneOf('worker', 'guard', 'cli'),
    worker: maybe(whole(0, 10_000)) as Shape<number>,
  }),
  events: object({ kind: oneOf('events'), batch: listOf(isWorkerEvent, MAX_BATCH) }),
  admit: object({
    kind: oneOf('admit'),
    asks: listOf(object({ ask: whole(), source, limit: whole(1) }), MAX_BATCH),
  }),
  release: object({ kind: oneOf('release'), sources: counted }),
  inquire: object({
    kind: oneOf('inquire'),
    asks: listOf(object({ ask: whole(), inquiry: isInquiry }), MAX_BATCH),
  }),
  returned: object({ kind: oneOf('returned'), of: oneOf('connections', 'limits'), recall: whole() }),
  take: object({
    kind: oneOf('take'),
    asks: listOf(object({ ask: whole(), needs: listOf(need, MAX_NEEDS) }), MAX_TAKES),
  }),
  back: object({
    kind: oneOf('back'),
    items: listOf(object<Back>({ subject, rule, start: whole(), count: whole(1) }), MAX_BATCH),
  }),
  spent: object({ kind: oneOf('spent'), needs: listOf(need, MAX_BATCH) }),
  hold: object({ kind: oneOf('hold'), sources: counted }),
  kernel: object({ kind: oneOf('kernel'), report }),
  ask: object({ kind: oneOf('ask'), ask: whole(), question }),
});

const anything: Shape<unknown> = (raw): raw is unknown => raw !== undefined;
const isTaken: Shape<TakenAnswer> = (raw): raw is TakenAnswer => isGranted(raw) || isOver(raw);
const isGranted = object<Extract<TakenAnswer, { ok: true }>>({
  ask: whole(),
  ok: oneOf(true),
  leases: listOf(lease, MAX_NEEDS),
});
const isOver = object<Extract<TakenAnswer, { ok: false }>>({
  ask: whole(),
  ok: oneOf(false),
  over: whole(0, MAX_NEEDS),
  retryMs: amount,
});
const isFromKeeper: Shape<FromKeeper> = union<Kinds<FromKeeper>>('kind', {
  locks: object({ kind: oneOf('locks'), locks: listOf(lock, MAX_LOCKS) }),
  secured: object({
    kind: oneOf('secured'),
    servers: listOf(object<SecuredTold>({ server: source, until: whole() }), MAX_SECURED),
  }),
  verifying: object({ kind: oneOf('verifying'), isWhole: yesNo, pairs: listOf(told, MAX_PAIRS) }),
  steps: object({ kind: oneOf('steps'), steps: listOf(isStep, MAX_LOCKS) }),
  admitted: object({ kind: oneOf('admitted'), answers: listOf(object({ ask: whole(), ok: yesNo }), MAX_BATCH) }),
  informed: object({
    kind: oneOf('informed'),
    answers: listOf(object({ ask: whole(), answer: isInquiryAnswer }), MAX_BATCH),
  }),
  recall: object<Extract<FromKeeper, { kind: 'recall' }>>({
    kind: oneOf('recall'),
    of: oneOf('connections', 'limits'),
    recall: whole(),
    sources: maybe(listOf(subject, MAX_BATCH)) as Shape<readonly string[]>,
  }),
  taken: object({ kind: oneOf('taken'), answers: listOf(isTaken, MAX_TAKES) }),
  answer: (raw): raw is Extract<FromKeeper, { kind: 'answer' }> => isAnswer(raw) || isRefusal(raw),
});
const isAnswer = object<Extract<FromKeeper, { ok: true }>>({
  kind: oneOf('answer'),
  ask: whole(),
  ok: oneOf(true),
  value: anything,
});
const isRefusal = object<Extract<FromKeeper, { ok: false }>>({
  kind: oneOf('answer'),
  ask: whole(),
  ok: oneOf(false),
  error: text(1000),
});

/** The message as it is meant, or undefined when it is none of ours: the connection is then ended. */
export function checkToKeeper(raw: unknown): ToKeeper | undefined {
  return isToKeeper(raw) ? raw : undefined;
}

export function checkFromKeeper(raw: unknown): FromKeeper | undefined {
  return isFromKeeper(raw) ? raw : undefined;
}

export const isLock: Shape<Lock> = lock;
