/** The filters of a configuration by name, for the actions that it gives to what they found. None of them looks. */
import type { Config } from '../../config/schema.ts';
import { closeFilters, filterThreads, makeFilters } from '../../filter/all.ts';
import type { Filter } from '../../filter/filter.ts';
import { systemClock } from '../../kit/clock.ts';
import { silentLog } from '../../kit/log.ts';

export type { Filter } from '../../filter/filter.ts';
export type FilterSet = ReadonlyMap<string, Filter>;

export async function withFilters<T>(config: Config, work: (filters: FilterSet) => T): Promise<T> {
  const threads = filterThreads(config);
  const inquire = () => Promise.reject(new Error('nobody is asked'));
  const made = makeFilters(config, { log: silentLog, clock: systemClock, threads, inquire });
  try {
    const all: readonly Filter[] = [...made.connect, ...made.envelope, ...made.body];
    return work(new Map(all.map((filter) => [filter.name, filter])));
  } finally {
    closeFilters(made);
    await threads.close();
  }
}
