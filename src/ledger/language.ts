/**
 * The language of the keeper's socket: one JSON object a line, version 6.
 *
 * Workers send batches of events and ask for admission; the guard reports the kernel and is told of locks; the CLI asks
 * and gets one answer. A line that does not parse, is longer than 4 MiB, has another version or an unknown kind ends
 * the connection: whoever speaks is not one of us, or of another release.
 */
import type { Inquiry, InquiryAnswer } from './inquiry.ts';
import { runPaths } from '../kit/run-dir.ts';
import type { Lease, Need, Over } from './counters.ts';
import type { Mode } from '../policy/ladder.ts';
import type { Rule } from '../policy/limits.ts';
import type { Day } from '../policy/quota.ts';
import type { WorkerEvent } from '../record/events.ts';
import type { JournalState, LogFilter, SourcesQuestion, TopQuestion } from '../record/query.ts';

export const VERSION = 6;

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
  /** whose hosts alone are shown; undefined: all */
  readonly tenant?: string | undefined;
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
  /** what became of a mail of our own that this worker was handed: the far side's last code, 0 where there was none */
  | { readonly kind: 'mailed'; readonly mail: number; readonly code: number; readonly reason: string }
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
  /** send this through the smarthost, from the null sender; answered with `mailed`. `octets`: base64, as on the wire but for the dots */
  | { readonly kind: 'mail'; readonly mail: number; readonly to: string; readonly octets: string }
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
  /** answered with a list of Complaint, newest first; `id` is a message's */
  | { readonly of: 'complaints'; readonly limit: number; readonly id?: string }
  /** answered with a Who; `who` looks */
  | { readonly of: 'who'; readonly address: string; readonly at: number; readonly who?: string }
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
      readonly tenant?: string | undefined;
      readonly who: string;
    }
  | {
      readonly of: 'token-add';
      readonly name: string;
      readonly role: Role;
      readonly until: number | undefined;
      readonly from: readonly string[] | undefined;
      readonly tenant?: string | undefined;
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

/** Whom an address belonged to at a time. */
export type Who = {
  readonly address: string;
  readonly at: number;
  /** undefined: nobody */
  readonly network: string | undefined;
  readonly subscriber: string | undefined;
  readonly tenant: string | undefined;
  /** that says so, the last one up to then; undefined: the configuration as it is now does */
  readonly attempt: { readonly id: string; readonly at: number } | undefined;
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
  /** of networks that are intercepted: when a host of it last tried to send, undefined for never */
  readonly prefixes: readonly {
    readonly prefix: string;
    readonly network: string;
    readonly lastSeenAt: number | undefined;
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
    readonly exemptTo: readonly {
      readonly prefix: string;
      readonly packets: number | undefined;
      readonly until?: number | undefined;
      readonly reason?: string;
    }[];
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
/** base64 of a mail of our own: a quoted message and what stands around it, or a file of sums */
export const MAX_MAIL = 2 * 1024 * 1024;
/** more than a trunk has VLANs */
export const MAX_INSIDE = 5000;
