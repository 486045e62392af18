/**
 * What happened, one type for each kind of event; journal, metrics and log lines are made from these.
 *
 * An event is made once, by the worker, and never changes a verdict: whoever records it may lose it, and counts the loss.
 */
import type { Class } from '../policy/classes.ts';

/** What one filter saw (DESIGN words: finding). */
export type Finding = { readonly filter: string; readonly name: string; readonly score: number; readonly evidence: string };

export type RecipientOutcome = { readonly recipient: string; readonly code: number; readonly class: Class };

/** One MAIL transaction, or one connection that was refused before MAIL (`sender` is then undefined). */
export type Attempt = {
  readonly kind: 'attempt';
  readonly id: string;
  readonly session: string;
  readonly at: number;
  readonly worker: number;
  readonly network: string;
  readonly mode: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly helo: string | undefined;
  readonly esmtp: boolean;
  /** `<>` is the null sender */
  readonly sender: string | undefined;
  readonly recipients: readonly RecipientOutcome[];
  readonly sizeBytes: number;
  readonly verdict: 'accept' | 'defer' | 'reject';
  readonly class: Class;
  /** in mode "observe": what "enforce" would have said */
  readonly wouldBe: Class | undefined;
  /** code and text of the final reply to the host, without id and URL */
  readonly reply: string;
  readonly egress: 'smarthost';
  readonly upstream: string | undefined;
  readonly upstreamReply: string | undefined;
  readonly findings: readonly Finding[];
  /** from the final dot to our verdict, and from the verdict to the far side's reply */
  readonly verdictMs: number | undefined;
  readonly relayMs: number | undefined;
  readonly totalMs: number;
};

/** Counts since the last batch, so that a session costs no event of its own. */
export type SessionCounts = {
  readonly kind: 'sessions';
  readonly worker: number;
  /** by network */
  readonly opened: Readonly<Record<string, number>>;
  /** now, all networks */
  readonly open: number;
  readonly upstream: readonly { readonly server: string; readonly up: boolean; readonly connections: number; readonly reason?: string }[];
  /** events this worker had to drop since the last batch, because the keeper was away */
  readonly dropped: number;
};

export type WorkerEvent = Attempt | SessionCounts;
