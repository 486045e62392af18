/** Sums of a period as tables for other programs: a row for each subscriber of a day, one for each identity of two hours. */
import { csvText } from '../kit/csv.ts';
import type { SumRow } from './query.ts';

const DAILY = ['Subscriber', 'Network', 'Tenant', 'Attempts', 'Accepted', 'Deferred', 'Rejected'];
const DAILY_COUNTS = ['Spam Count', 'Virus Count', 'Invalid Sender Count', 'Bytes'];
/** as hosters' programs know them */
const IDENTITIES = [
  'Authentication Domain',
  'Authentication User',
  'User Identification',
  'Spam Count',
  'Invalid Sender Count',
];

const COUNTS = ['attempts', 'accepted', 'deferred', 'rejected', 'spam', 'virus', 'invalidSender', 'bytes'] as const;

export function dailyCsv(rows: readonly SumRow[]): string {
  const bySubscriber = new Map<string, SumRow>();
  for (const row of rows) {
    const key = JSON.stringify([row.subscriber, row.network, row.tenant, row.source]);
    const before = bySubscriber.get(key);
    bySubscriber.set(key, before ? added(before, row) : row);
  }
  return csvText(
    [...DAILY, ...DAILY_COUNTS],
    Array.from(bySubscriber.values(), (row) => [
      ...[nameOf(row), row.network, row.tenant],
      ...COUNTS.map((count) => row[count]),
    ]),
  );
}

/** Who sends without an identity has a row where there is something to see to. */
export function identitiesCsv(rows: readonly SumRow[]): string {
  const shown = rows.filter(({ identity, spam, invalidSender }) => identity !== '' || spam + invalidSender > 0);
  return csvText(
    IDENTITIES,
    shown.map((row) => [row.tenant || row.network, nameOf(row), row.identity, row.spam, row.invalidSender]),
  );
}

function nameOf({ subscriber, source }: SumRow): string {
  return subscriber === '' ? source : subscriber;
}

function added(a: SumRow, b: SumRow): SumRow {
  return { ...a, ...Object.fromEntries(COUNTS.map((count) => [count, a[count] + b[count]])) };
}
