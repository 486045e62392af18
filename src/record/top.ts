/** Who sends most, or is refused most, since a time: sums over the journal. Reads only; runs where searches run. */
import { DatabaseSync } from 'node:sqlite';
import type { TopQuestion, TopRow } from './query.ts';
import { SLICE_SHIFT } from './schema.ts';

const BUSY_TIMEOUT_MS = 2_000;

/** What is summed up; addresses of mail are there as they are kept. */
const BY: Readonly<Record<TopQuestion['by'], string>> = {
  identity: "coalesce(identity, '')",
  subscriber: "coalesce('@' || subscriber, source)",
  source: 'source',
  network: 'network',
  class: 'class',
  sender: "coalesce(sender, '')",
};

/** Throws SQLite's error when the file cannot be read. */
export function top(path: string, { by, since, class: of, limit }: TopQuestion): readonly TopRow[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    // "spam" is every class from "spam." to before "spam/": "/" follows "." in the table of characters.
    const [from, to] = of === undefined ? ['', '~'] : of.includes('.') ? [of, `${of}\0`] : [`${of}.`, `${of}/`];
    const statement = database.prepare(
      `SELECT ${BY[by]} AS who, count(*) AS attempts, sum(verdict = 'accept') AS accepted,
         sum(verdict = 'defer') AS deferred, sum(verdict = 'reject') AS rejected,
         sum(class >= 'spam.' AND class < 'spam/') AS spam,
         sum(class = 'tls.opaque') AS opaque, min(at) AS first, max(at) AS last
       FROM attempts
       WHERE n >= (SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= :since)
         AND at >= :since AND class >= :from AND class < :to
       GROUP BY who ORDER BY attempts DESC, who LIMIT :limit`,
    );
    return statement.all({ since, from, to, limit }) as unknown as readonly TopRow[];
  } finally {
    database.close();
  }
}
