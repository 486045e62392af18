/**
 * The contract of a filter: it looks at a message and reports what it saw, never a verdict.
 *
 * What a finding leads to, and what the filter's own failure or time-out leads to, is configuration (`actionOf`,
 * `failure`). To add one: a file beside this one that exports a Filter, a table in config/schema.ts, a line in all.ts,
 * its classes in policy/classes.ts.
 */
import type { Action, Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import type { Finding } from '../record/events.ts';
import type { Message } from './message.ts';

/** A finding with the class it stands for, should configuration act on it. */
export type Seen = Finding & { readonly class: Class };

export interface Filter {
  readonly name: string;
  /** Throws or rejects when it can't say; ends when the signal aborts. */
  look(message: Message, signal: AbortSignal): readonly Seen[] | Promise<readonly Seen[]>;
  actionOf(class_: Class, filters: Config['filters']): Action;
  /** What a failure or a time-out of this filter leads to. */
  failure(filters: Config['filters']): Action;
}
