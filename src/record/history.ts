/** How much went which way over time: sums over the journal for its charts. Reads only; runs where searches run. */
import { DatabaseSync } from 'node:sqlite';
import type { HistoryQuestion, HistoryRow } from './query.ts';
import { SLICE_SHIFT } from './schema.ts';

const BUSY_TIMEOUT_MS = 2_000;

/** Oldest first; a step in which nothing happened has no row. Throws SQLite's error when the file cannot be read. */
export function history(path: string, { since, stepMs, source, tenant }: HistoryQuestion): readonly HistoryRow[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const statement = database.prepare(
      `SELECT at - at % :step AS at, sum(verdict = 'accept') AS accepted, sum(verdict = 'defer') AS deferred,
         sum(verdict = 'reject') AS rejected, sum(tls_version IS NOT NULL) AS tlsIn,
         sum(upstream_tls LIKE 'TLS%') AS tlsOut, sum(upstream IS NOT NULL) AS relayed
       FROM attempts
       WHERE n >= (SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= :since)
         AND at >= :since AND (:source IS NULL OR source = :source) AND (:tenant IS NULL OR tenant = :tenant)
       GROUP BY 1 ORDER BY 1`,
    );
    const rows = statement.all({ since, step: stepMs, source: source ?? null, tenant: tenant ?? null }) as Record<
      string,
      number | null
    >[];
    return rows.map((row) => ({ ...row, tlsOut: row['tlsOut'] ?? 0 })) as unknown as readonly HistoryRow[];
  } finally {
    database.close();
  }
}
