/** Runs the filters side by side under one deadline, and gives a failure the meaning that configuration says. */
import type { Action, Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import type { Filter, Seen } from './filter.ts';
import type { Message } from './message.ts';

export type FilterResult = {
  readonly findings: readonly Seen[];
  /** what policy decides on: each finding's class, and `error.filter` for each failure, with its action */
  readonly seen: readonly { readonly class: Class; readonly action: Action }[];
  readonly failures: readonly { readonly filter: string; readonly reason: string }[];
};

/** Never rejects: a filter that throws, rejects or is late is a failure of that filter. */
export async function runFilters(
  filters: readonly Filter[],
  message: Message,
  config: Config['filters'],
): Promise<FilterResult> {
  const abort = new AbortController();
  const looks = filters.map((filter) => {
    try {
      return filter.look(message, abort.signal);
    } catch (error) {
      return Promise.reject(error);
    }
  });
  // Most filters answer at once; a timer is made only for those that don't.
  const results = looks.some((look) => look instanceof Promise)
    ? await settleWithin(looks, config.deadline, abort)
    : (looks as readonly (readonly Seen[])[]).map((value) => ({ status: 'fulfilled', value }) as const);

  const findings: Seen[] = [];
  const seen: { class: Class; action: Action }[] = [];
  const failures: { filter: string; reason: string }[] = [];
  results.forEach((result, i) => {
    const filter = filters[i] as Filter;
    if (result.status === 'fulfilled') {
      for (const finding of result.value) {
        findings.push(finding);
        seen.push({ class: finding.class, action: filter.actionOf(finding.class, config) });
      }
    } else {
      failures.push({ filter: filter.name, reason: String(result.reason) });
      seen.push({ class: 'error.filter', action: filter.failure(config) });
    }
  });
  return { findings, seen, failures };
}

async function settleWithin<T>(looks: readonly (T | Promise<T>)[], deadlineMs: number, abort: AbortController) {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not done within ${deadlineMs} ms`));
      abort.abort();
    }, deadlineMs);
  });
  try {
    return await Promise.allSettled(looks.map((look) => Promise.race([look, late])));
  } finally {
    clearTimeout(timer);
  }
}
