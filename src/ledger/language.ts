/**
 * The language of the keeper's socket: one JSON object a line, version 1.
 *
 * Workers send batches of events and ask for admission; the guard reports the kernel and is told of locks; the CLI asks
 * and gets one answer. A line that does not parse, is longer than 4 MiB, has another version or an unknown kind ends
 * the connection: whoever speaks is not one of us, or of another release.
 */
import type { WorkerEvent } from '../record/events.ts';

export const VERSION = 1;

/** How a lock is carried out: in the kernel before accept, or by a reply to every RCPT. */
export type LockHow = 'kernel' | 'defer' | 'reject';

export type Lock = {
  /** an address, an IPv6 /64, or any prefix, in canonical spelling with its length: `198.51.100.7/32` */
  readonly subject: string;
  readonly how: LockHow;
  readonly reason: string;
  readonly who: string;
  readonly since: number;
  readonly until: number | undefined;
};

/** What the guard last saw of the kernel. Counters only grow; a rebuilt rule set starts them again. */
export type KernelReport = {
  readonly alive: boolean;
  readonly aliveSince: number;
  readonly repaired: number;
  /** `unrouted` is the network of sources in no network; reasons: unrouted, locked, block, smarthost-only, rate, fence, dead, output */
  readonly refused: readonly { readonly network: string; readonly reason: string; readonly packets: number }[];
  readonly exemptTo: readonly { readonly prefix: string; readonly packets: number }[];
  readonly topRefused: readonly { readonly source: string; readonly packets: number }[];
  readonly workers: readonly { readonly worker: number; readonly answeredMs: number | undefined; readonly failures: number }[];
  readonly configErrors: number;
};

/** To the keeper. */
export type ToKeeper =
  | { readonly kind: 'hello'; readonly v: typeof VERSION; readonly role: 'worker' | 'guard' | 'cli'; readonly worker?: number }
  | { readonly kind: 'events'; readonly batch: readonly WorkerEvent[] }
  /** may these sources open one more connection each? `ask` numbers the question */
  | { readonly kind: 'admit'; readonly asks: readonly { readonly ask: number; readonly source: string; readonly limit: number }[] }
  /** connections that ended, by source */
  | { readonly kind: 'release'; readonly sources: readonly string[] }
  | { readonly kind: 'kernel'; readonly report: KernelReport }
  /** the CLI's questions; each gets exactly one `answer` with the same `ask` */
  | { readonly kind: 'ask'; readonly ask: number; readonly question: Question };

/** From the keeper. `locks` is sent whole after hello and on every change. */
export type FromKeeper =
  | { readonly kind: 'locks'; readonly locks: readonly Lock[] }
  | { readonly kind: 'admitted'; readonly answers: readonly { readonly ask: number; readonly ok: boolean }[] }
  | { readonly kind: 'answer'; readonly ask: number; readonly ok: true; readonly value: unknown }
  | { readonly kind: 'answer'; readonly ask: number; readonly ok: false; readonly error: string };

export type Question =
  | { readonly of: 'status' }
  | { readonly of: 'locks' }
  | { readonly of: 'lock'; readonly lock: Omit<Lock, 'since'> }
  | { readonly of: 'unlock'; readonly subject: string; readonly who: string }
  | { readonly of: 'log'; readonly filter: LogFilter };

export type LogFilter = {
  readonly since?: number;
  readonly until?: number;
  readonly source?: string;
  readonly sender?: string;
  readonly recipient?: string;
  readonly class?: string;
  readonly id?: string;
  readonly limit: number;
};
