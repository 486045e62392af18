/**
 * Facts to verdict. Nothing here asks anybody: what is needed comes in, what is decided goes out.
 */
import type { Class } from './classes.ts';
import { type Verdict, verdictOf } from './verdict.ts';

export type Action = 'ignore' | 'lock-points' | 'tag' | 'defer' | 'reject';

/** A finding, or a filter's failure, with the action that configuration gives it. */
export type Judged = {
  readonly class: Class;
  readonly action: Action;
  readonly score: number;
  /** the filter */
  readonly by: string;
};

/** Where the sum of all scores leads to something by itself; undefined never does. */
export type Thresholds = {
  readonly mode: string;
  readonly scoreTag: number | undefined;
  readonly scoreDefer: number | undefined;
  readonly scoreReject: number | undefined;
};

/** What was decided, and in mode "observe" what "enforce" would have said. */
export type Decision = {
  readonly verdict: Verdict;
  readonly wouldBe: Class | undefined;
  /** what an accepted message is marked with on top */
  readonly tags: readonly Class[];
};

const ACCEPT: Verdict = { kind: 'accept', class: 'accepted.clean' };
const NO_TAGS: readonly Class[] = [];
const ACCEPTED: Decision = { verdict: ACCEPT, wouldBe: undefined, tags: NO_TAGS };
const NOBODY = (_of: Class): boolean => false;
const SEVERITY: Readonly<Record<Action, number>> = { ignore: 0, 'lock-points': 0, tag: 1, defer: 2, reject: 3 };

/** Mode "observe" judges everything and refuses nothing of ours. */
export function applyMode(verdict: Verdict, mode: string): Decision {
  if (verdict.kind === 'accept') return { verdict, wouldBe: undefined, tags: NO_TAGS };
  return mode === 'observe'
    ? { verdict: { kind: 'accept', class: 'accepted.observed' }, wouldBe: verdict.class, tags: NO_TAGS }
    : { verdict, wouldBe: undefined, tags: NO_TAGS };
}

/** A lock speaks at every RCPT, so that each attempt is recorded with its recipient. */
export function decideRecipient(
  lock: { readonly how: 'kernel' | 'defer' | 'reject' } | undefined,
  mode: string,
): Decision {
  if (!lock) return ACCEPTED;
  return applyMode(verdictOf(lock.how === 'defer' ? 'locked.deferred' : 'locked.subscriber'), mode);
}

/** The same for who it is behind the source, when the message is there. */
export function decideIdentity(lock: { readonly how: 'kernel' | 'defer' | 'reject' }, mode: string): Decision {
  return applyMode({ kind: lock.how === 'defer' ? 'defer' : 'reject', class: 'locked.identity' }, mode);
}

/**
 * What the filters found: the most severe action decides, among equals the first, and what all scores come to last. The
 * action overrules the class's own severity. Tags are for what is accepted; mode "observe" leaves the message as it is.
 * `isExcused`: what nobody is refused for here, which counts for nothing.
 */
export function decideFound(found: readonly Judged[], network: Thresholds, isExcused = NOBODY): Decision {
  const judged = found.filter((one) => !isExcused(one.class));
  if (judged.length === 0) return ACCEPTED;
  let score = 0;
  for (const one of judged) score += one.score;
  const ofScore: Class = 'spam.score';
  const action = isExcused(ofScore) ? 'ignore' : actionOfScore(score, network);
  const all = [...judged, { class: ofScore, action }];
  let worst: { readonly class: Class; readonly action: Action } | undefined;
  for (const one of all) if (SEVERITY[one.action] > SEVERITY[worst?.action ?? 'ignore']) worst = one;
  if (!worst || worst.action === 'ignore' || worst.action === 'lock-points') return ACCEPTED;
  if (worst.action !== 'tag') return applyMode({ kind: worst.action, class: worst.class }, network.mode);
  if (network.mode === 'observe') return ACCEPTED;
  const tags = new Set(all.filter(({ action }) => action === 'tag').map((one) => one.class));
  return { verdict: { kind: 'accept', class: 'accepted.tagged' }, wouldBe: undefined, tags: [...tags] };
}

/** Classes that count towards locks, whatever becomes of the message; undefined when there are none, as is nearly always so. */
export function pointsOf(judged: readonly Judged[]): readonly Class[] | undefined {
  if (!judged.some(({ action }) => action === 'lock-points')) return undefined;
  return [...new Set(judged.filter(({ action }) => action === 'lock-points').map((one) => one.class))];
}

function actionOfScore(score: number, { scoreTag, scoreDefer, scoreReject }: Thresholds): Action {
  // Sums of decimals: 0.1 + 0.2 reaches 0.3.
  const reaches = (threshold: number | undefined): boolean => threshold !== undefined && score >= threshold - 1e-9;
  return reaches(scoreReject) ? 'reject' : reaches(scoreDefer) ? 'defer' : reaches(scoreTag) ? 'tag' : 'ignore';
}
