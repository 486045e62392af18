/** The filters, in the order in which their findings are listed. */
import type { Config } from '../config/schema.ts';
import { Threads } from '../kit/threads.ts';
import type { ServiceReport } from '../record/events.ts';
import { clamd } from './clamd.ts';
import type { Filter, FilterDeps, MakeFilter, Stage } from './filter.ts';
import { auth } from './auth.ts';
import { attachments } from './attachments.ts';
import { behaviour } from './behaviour.ts';
import { campaign } from './campaign.ts';
import { content } from './content.ts';
import { gtube } from './gtube.ts';
import { header } from './header.ts';
import { rspamd } from './rspamd.ts';
import { rules } from './rules.ts';
import { urlDns } from './url-dns.ts';
import { urls } from './urls.ts';

export const allFilters: readonly MakeFilter[] = [
  header,
  gtube,
  content,
  attachments,
  urls,
  urlDns,
  rules,
  campaign,
  behaviour,
  auth,
  rspamd,
  clamd,
];

/** Those that the configuration switches on, by stage. */
export type FilterSet = { readonly [S in Stage]: readonly Filter<S>[] };

const HEAP_MIB = 256;

/** The threads of one worker, for all its filters. */
export function filterThreads({ filters }: Config): Threads {
  const entry = new URL('./filter.thread.ts', import.meta.url);
  return new Threads({ entry, name: 'filters', most: filters.threads, heapMiB: HEAP_MIB });
}

export function makeFilters(config: Config, deps: FilterDeps, all: readonly MakeFilter[] = allFilters): FilterSet {
  const on = all.map((make) => make(config, deps)).filter((filter) => filter !== undefined);
  const made = on.filter(({ speaksOf }) => speaksOf === undefined || on.some(({ needs }) => needs === speaksOf));
  return {
    connect: made.filter((filter) => filter.stage === 'connect'),
    envelope: made.filter((filter) => filter.stage === 'envelope'),
    body: made.filter((filter) => filter.stage === 'body'),
  };
}

/** A set that another has replaced. */
export function closeFilters(set: FilterSet): void {
  for (const filter of every(set)) filter.close?.();
}

/** Of the services that are asked: what has been counted since the last call. */
export function reportFilters(set: FilterSet): ServiceReport[] {
  return every(set).flatMap((filter) => filter.report?.() ?? []);
}

function every(set: FilterSet): readonly Filter[] {
  return [...set.connect, ...set.envelope, ...set.body];
}
