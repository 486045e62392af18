/** Runs the filters of a stage side by side, each under its deadline, and gives a failure the meaning that configuration says. */
import type { Judged } from '../policy/decide.ts';
import { Call } from './call.ts';
import type { Filter, Seen, Stage, Subjects } from './filter.ts';

export type FilterResult = {
  readonly findings: readonly Seen[];
  /** what policy decides on: each finding's class, and `error.filter` for each failure, with its action */
  readonly judged: readonly Judged[];
  readonly failures: readonly { readonly filter: string; readonly reason: string }[];
};

type Writable = { [Key in keyof FilterResult]: FilterResult[Key][number][] };

/**
 * Never rejects: a filter that throws, rejects or is late is a failure of that filter. `deadlineMs` holds for all, a
 * filter's own for that one.
 */
export async function runFilters<S extends Stage>(
  filters: readonly Filter<S>[],
  subject: Subjects[S],
  deadlineMs: number,
): Promise<FilterResult> {
  const result: Writable = { findings: [], judged: [], failures: [] };
  // Most filters answer at once; what is slow is begun before anything is waited for.
  let slow: Promise<void>[] | undefined;
  for (const filter of filters) {
    const call = new Call();
    try {
      const { gate } = filter;
      const look = gate ? gate.pass(call.signal, () => filter.look(subject, call)) : filter.look(subject, call);
      if (look instanceof Promise) (slow ??= []).push(settle(result, filter, subject, look, call, deadlineMs));
      else add(result, filter, look);
    } catch (error) {
      fail(result, filter, subject, error);
    }
  }
  if (slow) {
    await Promise.all(slow);
    // Which of several is listed first must not hang on which answered first.
    inOrder(result, filters);
  }
  return result;
}

function add(result: Writable, filter: Filter, found: readonly Seen[]): void {
  for (const finding of found) {
    result.findings.push(finding);
    result.judged.push({
      class: finding.class,
      action: filter.actionOf(finding.class, finding.name),
      score: finding.score,
      by: filter.name,
    });
  }
}

function fail<S extends Stage>(result: Writable, filter: Filter<S>, subject: Subjects[S], error: unknown): void {
  result.failures.push({ filter: filter.name, reason: String(error) });
  result.judged.push({
    class: 'error.filter',
    action: filter.failureFor?.(subject) ?? filter.failure,
    score: 0,
    by: filter.name,
  });
}

/** Resolves when the look has ended or its time is over. */
function settle<S extends Stage>(
  result: Writable,
  filter: Filter<S>,
  subject: Subjects[S],
  look: Promise<readonly Seen[]>,
  call: Call,
  deadlineMs: number,
): Promise<void> {
  const ownMs = Math.min(filter.deadlineMs ?? deadlineMs, deadlineMs);
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined = setTimeout(() => {
      timer = undefined;
      fail(result, filter, subject, new Error(`not done within ${ownMs} ms`));
      call.end();
      resolve();
    }, ownMs);
    const once = (end: () => void): void => {
      if (timer === undefined) return;
      clearTimeout(timer);
      try {
        end();
      } catch (error) {
        fail(result, filter, subject, error);
      } finally {
        resolve();
      }
    };
    look.then(
      (found) => once(() => add(result, filter, found)),
      (error: unknown) => once(() => fail(result, filter, subject, error)),
    );
  });
}

function inOrder(result: Writable, filters: readonly Filter[]): void {
  const rank = new Map(filters.map(({ name }, i) => [name, i]));
  const by = (a: string, b: string): number => (rank.get(a) ?? 0) - (rank.get(b) ?? 0);
  result.findings.sort((a, b) => by(a.filter, b.filter));
  result.judged.sort((a, b) => by(a.by, b.by));
  result.failures.sort((a, b) => by(a.filter, b.filter));
}
