/** What each subscriber and identity has sent in a period: sums over the journal. Reads only; runs where searches run. */
import { DatabaseSync } from 'node:sqlite';
import type { SumRow, SumsQuestion } from './query.ts';
import { SLICE_SHIFT } from './schema.ts';

const BUSY_TIMEOUT_MS = 2_000;
/** of one answer: an identity is what a host says it is */
const MAX_ROWS = 100_000;

const IN = (main: string): string =>
  `sum(coalesce(would_be, class) >= '${main}.' AND coalesce(would_be, class) < '${main}/')`;

/** Throws SQLite's error when the file cannot be read. */
export function sums(path: string, { since, until }: SumsQuestion): readonly SumRow[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const statement = database.prepare(
      `SELECT network, coalesce(subscriber, '') AS subscriber, coalesce(tenant, '') AS tenant,
         iif(subscriber IS NULL, source, '') AS source, coalesce(identity, '') AS identity, count(*) AS attempts,
         sum(verdict = 'accept') AS accepted, sum(verdict = 'defer') AS deferred, sum(verdict = 'reject') AS rejected,
         ${IN('spam')} AS spam, ${IN('virus')} AS virus, ${IN('sender')} AS invalidSender,
         sum(iif(verdict = 'accept', size, 0)) AS bytes
       FROM attempts
       WHERE n >= (SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= :since)
         AND at >= :since AND at < :until
       GROUP BY 1, 2, 3, 4, 5 ORDER BY attempts DESC, 1, 2, 3, 4, 5 LIMIT ${MAX_ROWS}`,
    );
    return statement.all({ since, until }) as unknown as readonly SumRow[];
  } finally {
    database.close();
  }
}
