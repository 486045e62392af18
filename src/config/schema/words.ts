/** Words that stand in several tables. */
import type { Action } from '../../policy/decide.ts';

/** What a finding, or a filter's own failure, leads to; filters' docs say what each word means. */
export const ACTIONS = ['ignore', 'tag', 'defer', 'reject', 'lock-points'] as const satisfies readonly Action[];

export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;
export const NAME_TYPE = 'a name of letters, digits and "._-", at most 40';
