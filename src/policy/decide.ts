/**
 * Facts to verdict. Nothing here asks anybody: what is needed comes in, what is decided goes out.
 */
import type { Class } from './classes.ts';
import { type Verdict, verdictOf } from './verdict.ts';

export type Action = 'ignore' | 'defer' | 'reject';

/** What was decided, and in mode "observe" what "enforce" would have said. */
export type Decision = { readonly verdict: Verdict; readonly wouldBe: Class | undefined };

const ACCEPT: Verdict = { kind: 'accept', class: 'accepted.clean' };
const SEVERITY: Readonly<Record<Action, number>> = { ignore: 0, defer: 1, reject: 2 };

/** Mode "observe" judges everything and refuses nothing of ours. */
export function applyMode(verdict: Verdict, mode: string): Decision {
  if (verdict.kind === 'accept') return { verdict, wouldBe: undefined };
  return mode === 'observe'
    ? { verdict: { kind: 'accept', class: 'accepted.observed' }, wouldBe: verdict.class }
    : { verdict, wouldBe: undefined };
}

/** A lock speaks at every RCPT, so that each attempt is recorded with its recipient. */
export function decideRecipient(
  lock: { readonly how: 'kernel' | 'defer' | 'reject' } | undefined,
  mode: string,
): Decision {
  if (!lock) return { verdict: ACCEPT, wouldBe: undefined };
  return applyMode(verdictOf(lock.how === 'defer' ? 'locked.deferred' : 'locked.subscriber'), mode);
}

/**
 * What the filters found, each with the action that configuration gives it: the most severe decides, among equals the
 * first. The action overrules the class's own severity.
 */
export function decideMessage(
  seen: readonly { readonly class: Class; readonly action: Action }[],
  mode: string,
): Decision {
  let worst: { readonly class: Class; readonly action: Action } | undefined;
  for (const one of seen) {
    if (one.action !== 'ignore' && (!worst || SEVERITY[one.action] > SEVERITY[worst.action])) worst = one;
  }
  if (!worst || worst.action === 'ignore') return { verdict: ACCEPT, wouldBe: undefined };
  return applyMode({ kind: worst.action, class: worst.class }, mode);
}
