/**
 * The contract of a filter: it looks at what its stage has, and reports what it saw, never a verdict.
 *
 * What a finding leads to, and what the filter's own failure or time-out leads to, is configuration (`actionOf`,
 * `failure`). docs/add-a-filter.md tells how to add one.
 */
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Threads } from '../kit/threads.ts';
import type { Inquiry, InquiryAnswer } from '../ledger/inquiry.ts';
import type { Class } from '../policy/classes.ts';
import type { Action } from '../policy/decide.ts';
import type { Finding, ServiceReport } from '../record/events.ts';
import type { Call } from './call.ts';
import type { Gate } from './gate.ts';
import type { Message } from './message.ts';

/** A finding with the class it stands for, should configuration act on it. A score of 1 is certainty. */
export type Seen = Finding & { readonly class: Class };

/** Whose connection it is. */
export type Connected = {
  readonly source: string;
  /** whom counts are about: a configured subscriber, else the address or IPv6 prefix (`subjectOf`) */
  readonly subscriber: string;
  readonly network: string;
  /** the server that the host called */
  readonly destination: string;
};

/** HELO and addresses as they came, without brackets, one character for each octet. An empty sender is the null sender. */
export type Enveloped = Connected & {
  readonly helo: string;
  /** the host spoke before it was greeted */
  readonly isEarly: boolean;
  readonly sender: string;
  /** those asked about so far: one at the stage "envelope", the accepted ones at the stage "body" */
  readonly recipients: readonly string[];
};

export type Mail = Enveloped & { readonly message: Message };

/** What each stage has: before the banner, at the first recipient of a transaction, after the final dot. */
export type Subjects = { readonly connect: Connected; readonly envelope: Enveloped; readonly body: Mail };
export type Stage = keyof Subjects;

export interface Filter<S extends Stage = Stage> {
  readonly name: string;
  readonly stage: S;
  /** What it asks for besides what its stage has: the message taken apart (`contentReader`). */
  readonly needs?: 'content';
  /** It has something to say only where another filter needs this. */
  readonly speaksOf?: 'content';
  /** Its own deadline; `filters.deadline` holds as well. A filter that answers at once has none. */
  readonly deadlineMs?: number;
  /** Bounds how many looks run at once; the others wait, within the deadline. */
  readonly gate?: Gate;
  /** Throws or rejects when it can't say; what takes time ends when `call.signal` aborts. */
  look(subject: Subjects[S], call: Call): readonly Seen[] | Promise<readonly Seen[]>;
  /** Where the class alone does not say, the finding's name does. */
  actionOf(class_: Class, name: string): Action;
  /** What a failure or a time-out of this filter leads to. */
  readonly failure: Action;
  /** The same where it hangs on what could not be looked at. */
  failureFor?(subject: Subjects[S]): Action;
  /** Of one that asks a service: what has been counted since it was last asked. */
  report?(): ServiceReport;
  /** The configuration has been replaced: ends what it holds, once no look uses it. */
  close?(): void;
}

export type FilterDeps = {
  readonly log: Log;
  readonly clock: Clock;
  /** for what takes longer than the loop can spare; its tasks are in filter.thread.ts */
  readonly threads: Threads;
  /** asks the keeper, which has seen the messages of all workers */
  readonly inquire: (inquiry: Inquiry) => Promise<InquiryAnswer>;
};

/** Makes one filter from the configuration; undefined when it is switched off. */
export type MakeFilter = (config: Config, deps: FilterDeps) => AnyFilter | undefined;

/** A filter of any stage, which says which. */
export type AnyFilter = { readonly [S in Stage]: Filter<S> }[Stage];
