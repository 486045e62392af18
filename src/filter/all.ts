/** The filters, in the order in which their findings are listed. */
import type { Config } from '../config/schema.ts';
import type { Filter, FilterDeps, MakeFilter, Stage } from './filter.ts';
import { gtube } from './gtube.ts';
import { header } from './header.ts';

export const allFilters: readonly MakeFilter[] = [header, gtube];

/** Those that the configuration switches on, by stage. */
export type FilterSet = { readonly [S in Stage]: readonly Filter<S>[] };

export function makeFilters(config: Config, deps: FilterDeps, all: readonly MakeFilter[] = allFilters): FilterSet {
  const made = all.map((make) => make(config, deps)).filter((filter) => filter !== undefined);
  return {
    connect: made.filter((filter) => filter.stage === 'connect'),
    envelope: made.filter((filter) => filter.stage === 'envelope'),
    body: made.filter((filter) => filter.stage === 'body'),
  };
}

/** A set that another has replaced. */
export function closeFilters(set: FilterSet): void {
  for (const filter of [...set.connect, ...set.envelope, ...set.body]) filter.close?.();
}
