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

type Look = readonly Seen[] | Promise<readonly Seen[]>;
type Writable = { [Key in keyof FilterResult]: FilterResult[Key][number][] };

/** Of a run in which no filter took its time, so that no one can be told to stop: the next run has it. */
let unused: AbortController | undefined;

/** Never rejects: a filter that throws, rejects or is late is a failure of that filter. */
export async function runFilters(
  filters: readonly Filter[],
  message: Message,
  config: Config['filters'],
): Promise<FilterResult> {
  const abort = unused ?? new AbortController();
  unused = undefined;
  const looks = filters.map((filter): Look => {
    try {
      return filter.look(message, abort.signal);
    } catch (error) {
      return Promise.reject(error);
    }
  });
  const result: Writable = { findings: [], seen: [], failures: [] };
  // Most filters answer at once; a timer is made only for those that don't.
  if (!looks.some((look) => look instanceof Promise)) {
    unused = abort;
    for (const [i, found] of looks.entries()) addFound(result, filters[i] as Filter, found as readonly Seen[], config);
    return result;
  }
  for (const [i, settled] of (await settleWithin(looks, config.deadline, abort)).entries()) {
    const filter = filters[i] as Filter;
    if (settled.status === 'fulfilled') addFound(result, filter, settled.value, config);
    else {
      result.failures.push({ filter: filter.name, reason: String(settled.reason) });
      result.seen.push({ class: 'error.filter', action: filter.failure(config) });
    }
  }
  return result;
}

function addFound(result: Writable, filter: Filter, found: readonly Seen[], config: Config['filters']): void {
  for (const finding of found) {
    result.findings.push(finding);
    result.seen.push({ class: finding.class, action: filter.actionOf(finding.class, config) });
  }
}

async function settleWithin(looks: readonly Look[], deadlineMs: number, abort: AbortController) {
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
