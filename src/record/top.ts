/** Who sends most, or is refused most, since a time: sums over the journal. Reads only; runs where searches run. */
import { DatabaseSync } from 'node:sqlite';
import type { SourceRow, SourcesQuestion, TopQuestion, TopRow } from './query.ts';
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
export function top(path: string, { by, since, class: of, tenant, limit }: TopQuestion): readonly TopRow[] {
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
         AND at >= :since AND class >= :from AND class < :to AND (:tenant IS NULL OR tenant = :tenant)
       GROUP BY who ORDER BY attempts DESC, who LIMIT :limit`,
    );
    return statement.all({ since, from, to, tenant: tenant ?? null, limit }) as unknown as readonly TopRow[];
  } finally {
    database.close();
  }
}

const WHO = "coalesce('@' || subscriber, source)";
const SINCE = `n >= (SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= :since) AND at >= :since`;

/** Everybody who has sent, whoever sends most first. Throws SQLite's error when the file cannot be read. */
export function sources(path: string, { since, limit }: SourcesQuestion): readonly SourceRow[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const attempts = database.prepare(
      `SELECT ${WHO} AS who, network, min(at) AS first, max(at) AS last,
         sum(verdict = 'accept' AND size > 0) AS messages, sum(iif(verdict = 'accept', size, 0)) AS bytes,
         sum(verdict = 'accept') AS accepted, sum(verdict = 'defer') AS deferred, sum(verdict = 'reject') AS rejected,
         sum(would_be IS NOT NULL) AS wouldBe
       FROM attempts WHERE ${SINCE} GROUP BY who ORDER BY messages DESC, accepted + deferred + rejected DESC, who LIMIT :limit`,
    );
    const recipients = database.prepare(
      `SELECT ${WHO} AS who, sum(code < 300) AS recipients,
         count(DISTINCT iif(instr(recipient, '@') > 0, lower(substr(recipient, instr(recipient, '@') + 1)), NULL)) AS domains
       FROM attempts JOIN recipients ON attempt = n WHERE ${SINCE} GROUP BY who`,
    );
    type Sums = Pick<SourceRow, 'who' | 'recipients' | 'domains'>;
    const sums = new Map((recipients.all({ since }) as unknown as Sums[]).map((one) => [one.who, one]));
    const rows = attempts.all({ since, limit }) as unknown as Omit<SourceRow, 'recipients' | 'domains'>[];
    return rows.map((row) => ({ recipients: 0, domains: 0, ...sums.get(row.who), ...row }));
  } finally {
    database.close();
  }
}
