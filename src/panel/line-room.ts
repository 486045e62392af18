/** What is told to the end user whose line is locked, without a log-in: of the line that asks, and of no other. */
import type { Class } from '../policy/classes.ts';

export type LineLock = {
  /** names this lock to whoever unlocks; only from the line itself is it worth anything, and to this lock alone */
  readonly word: string;
  /** behind the line; undefined: all of it */
  readonly identity: string | undefined;
  readonly since: number;
  readonly until: number | undefined;
  /** what a rule counted; undefined where somebody locked it by hand, whose reason is not told */
  readonly counted: string | undefined;
  readonly evidence: readonly Evidence[];
  /** how often the line may still end such a lock itself; 0: whoever runs the network does it */
  readonly unlocksLeft: number;
};

/** One refused message, with so much of its addresses that its sender knows it again. */
export type Evidence = { readonly at: number; readonly class: Class; readonly from: string; readonly to: string };

export type LineRoom = {
  /** Undefined when the address is in no network, or not locked. */
  readonly look: (address: string) => Promise<readonly LineLock[] | undefined>;
  /** Rejects with a Refusal when it may not. */
  readonly unlock: (address: string, word: string) => Promise<void>;
};
