/**
 * What can be limited, over which time, and how it is counted: pure, the time is handed in.
 *
 * Counts over a minute or an hour are token buckets: the limit can be used at once and comes back evenly. Longer ones, and
 * all that counts different things, are windows of the calendar in UTC; a week begins on Monday.
 */
import { monthOf } from '../kit/calendar.ts';
import type { Class } from './classes.ts';
import type { Earned } from './quota.ts';

export const UNITS = [
  ...(['connections', 'messages', 'recipients', 'bytes', 'domains', 'senders', 'unknown'] as const),
  /** of what is carried unread: connections, and octets in both directions */
  ...(['opaque', 'opaque-bytes'] as const),
] as const;
export type Unit = (typeof UNITS)[number];

export const PERIODS = ['minute', 'hour', 'day', 'week', 'month'] as const;
export type Period = (typeof PERIODS)[number];

export type Rule = {
  readonly unit: Unit;
  readonly period: Period;
  readonly limit: number;
  /** the limit is the most that a quota can become which is earned day by day */
  readonly earned?: Earned;
};

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970 began on a Thursday. */
const MONDAY_MS = 4 * DAY_MS;

export const limitClass: Readonly<Record<Unit, Class>> = {
  connections: 'limit.connection-rate',
  messages: 'limit.messages',
  recipients: 'limit.recipient-rate',
  bytes: 'limit.bytes',
  domains: 'limit.domains',
  senders: 'limit.senders',
  unknown: 'limit.unknown',
  opaque: 'limit.opaque',
  'opaque-bytes': 'limit.opaque',
};

/** Counts how many different ones there were. */
export function isDistinct(unit: Unit): boolean {
  return unit === 'domains' || unit === 'senders';
}

export function isBucket({ unit, period }: Pick<Rule, 'unit' | 'period'>): boolean {
  return !isDistinct(unit) && (period === 'minute' || period === 'hour');
}

/** How long a bucket takes to fill. */
export function fillMs(period: Period): number {
  return period === 'minute' ? 60_000 : HOUR_MS;
}

export type Window = { readonly start: number; readonly end: number };

/** The window that holds this time: milliseconds since 1970, the end belongs to the next. */
export function windowOf(period: Period, nowMs: number): Window {
  if (period === 'month') return monthOf(nowMs);
  const [lengthMs, from] =
    period === 'week' ? [7 * DAY_MS, MONDAY_MS] : [period === 'day' ? DAY_MS : fillMs(period), 0];
  const start = nowMs - ((((nowMs - from) % lengthMs) + lengthMs) % lengthMs);
  return { start, end: start + lengthMs };
}

/** `; try again in 12 minutes`: rounded up, so that whoever keeps to it is not too early. */
export function retryNote(waitMs: number): string {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  const [count, unit] =
    seconds < 120
      ? [seconds, 'second']
      : seconds < 7200
        ? [Math.ceil(seconds / 60), 'minute']
        : seconds < 172_800
          ? [Math.ceil(seconds / 3600), 'hour']
          : [Math.ceil(seconds / 86_400), 'day'];
  return `; try again in ${count} ${unit}${count === 1 ? '' : 's'}`;
}
