/** What an earned quota needs besides. */
import type { Limit } from './value/quantity.ts';

export const NEEDS_DAY = '"fixed", or a "/day" in limit_recipients: what the quota can become at most';

export function hasDay(limits: readonly (Limit | undefined)[]): boolean {
  return limits.some((limit) => limit?.period === 'day');
}
