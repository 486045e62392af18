/** What the journal is asked, and what it answers. */
import type { Attempt } from './events.ts';

export const MAX_LOG_ROWS = 10_000;

/** All that is given must hold. */
export type LogFilter = {
  /** milliseconds since 1970 */
  readonly since?: number;
  readonly until?: number;
  /** an address or a prefix */
  readonly source?: string;
  /** a configured one, by its name */
  readonly subscriber?: string;
  /** to whom the hosts belonged at that time */
  readonly tenant?: string;
  /** whole; found under its hash too */
  readonly identity?: string;
  /** a whole address, any case; `<>` is the null sender */
  readonly sender?: string;
  readonly recipient?: string;
  /** `main.sub`, or `main` for all of its classes */
  readonly class?: string;
  /** of a transaction or of a session */
  readonly id?: string;
  /** whole, with its brackets */
  readonly messageId?: string;
  readonly limit: number;
};

/** Newest first; `more` when the limit or the size of one answer cut it short. */
export type LogAnswer = { readonly rows: readonly Attempt[]; readonly more: boolean };

export const TOP_BY = ['identity', 'subscriber', 'source', 'network', 'class', 'sender'] as const;

/** Sums over all attempts since a time, of a class or `main` for all of its classes, by what they have in common. */
export type TopQuestion = {
  readonly by: (typeof TOP_BY)[number];
  readonly since: number;
  readonly class?: string;
  readonly tenant?: string;
  readonly limit: number;
};

export type TopRow = {
  readonly who: string;
  readonly attempts: number;
  readonly accepted: number;
  readonly deferred: number;
  readonly rejected: number;
  readonly spam: number;
  /** connections that were carried unread */
  readonly opaque: number;
  /** milliseconds since 1970 */
  readonly first: number;
  readonly last: number;
};

/** Sums over steps of time since a time, of one source, of one tenant, or of all. */
export type HistoryQuestion = {
  readonly since: number;
  readonly stepMs: number;
  readonly source?: string;
  readonly tenant?: string;
};

export type HistoryRow = {
  /** where the step begins, in milliseconds since 1970 */
  readonly at: number;
  readonly accepted: number;
  readonly deferred: number;
  readonly rejected: number;
  /** that came in over TLS; that a server answered; that went out to it over TLS */
  readonly tlsIn: number;
  readonly relayed: number;
  readonly tlsOut: number;
};

/** Sums of a period, `until` not in it. */
export type SumsQuestion = { readonly since: number; readonly until: number };

/** Of one subscriber, or of one address where none is configured, and one identity behind it; `''` is none. */
export type SumRow = {
  readonly network: string;
  readonly subscriber: string;
  readonly tenant: string;
  readonly source: string;
  readonly identity: string;
  /** by their end */
  readonly attempts: number;
  readonly accepted: number;
  readonly deferred: number;
  readonly rejected: number;
  /** by their class, also where mode "observe" let them pass */
  readonly spam: number;
  readonly virus: number;
  readonly invalidSender: number;
  /** of what was accepted */
  readonly bytes: number;
};

/** Who sends since a time: a configured subscriber, or an address. */
export type SourcesQuestion = { readonly since: number; readonly limit: number };

export type SourceRow = {
  readonly who: string;
  readonly network: string;
  readonly first: number;
  readonly last: number;
  readonly messages: number;
  readonly recipients: number;
  readonly bytes: number;
  /** different ones of recipients; 0 where no addresses are kept */
  readonly domains: number;
  /** attempts by their end, and those that mode "enforce" would have refused */
  readonly accepted: number;
  readonly deferred: number;
  readonly rejected: number;
  readonly wouldBe: number;
};

/** How receivers see us since a time: of one tenant or of all. */
export type ReceiversQuestion = { readonly since: number; readonly tenant?: string; readonly limit: number };

export type ReceiverRow = {
  /** of ours, `198.51.100.0/24` or `2001:db8:1::/48` */
  readonly prefix: string;
  /** `receiverOf` */
  readonly receiver: string;
  /** recipients that were offered to it, by its replies */
  readonly accepted: number;
  readonly deferred: number;
  readonly rejected: number;
};

/** A receiver has named a block list for a prefix of ours. */
export type Listing = {
  readonly prefix: string;
  readonly list: string;
  readonly upstream: string;
  readonly reply: string;
  readonly tenant: string | undefined;
  /** of the last such attempt */
  readonly id: string;
  /** when it was told of, and when it was last seen; milliseconds since 1970 */
  readonly since: number;
  readonly last: number;
  /** since the keeper's start */
  readonly count: number;
};

export type JournalState = {
  readonly ok: boolean;
  /** what is wrong, when not ok */
  readonly problem: string | undefined;
  readonly path: string;
  readonly sizeBytes: number;
  /** rows written since the keeper's start */
  readonly written: number;
  /** attempts lost since the keeper's start */
  readonly dropped: number;
  /** waiting to be written */
  readonly waiting: number;
  /** time of the oldest row */
  readonly oldest: number | undefined;
};
