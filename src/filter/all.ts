/** The filters, in the order in which their findings are listed. */
import type { Filter } from './filter.ts';
import { gtube } from './gtube.ts';
import { header } from './header.ts';

export const allFilters: readonly Filter[] = [header, gtube];
