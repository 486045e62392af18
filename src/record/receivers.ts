/** How receivers see us: of what was offered to them from each prefix, how much they took. Reads only; runs where searches run. */
import { DatabaseSync } from 'node:sqlite';
import { OTHER_RECEIVERS, receiverOf } from '../policy/receivers.ts';
import type { ReceiverRow, ReceiversQuestion } from './query.ts';
import { SLICE_SHIFT } from './schema.ts';

const BUSY_TIMEOUT_MS = 2_000;
const MAX_DOMAINS = 100_000;

/** of an IPv4 and of an IPv6 address, as octets of its key (`keyOf`): what receivers judge as one */
const PREFIX_OCTETS = { 4: 3, 6: 6 } as const;

/** Most offered first. What we refused ourselves was not offered. Throws SQLite's error when the file cannot be read. */
export function receivers(path: string, { since, tenant, limit }: ReceiversQuestion): readonly ReceiverRow[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const statement = database.prepare(
      `SELECT substr(source_key, 1, iif(hex(substr(source_key, 1, 1)) = '04', ${1 + PREFIX_OCTETS[4]}, ${1 + PREFIX_OCTETS[6]})) AS prefix,
         lower(rtrim(substr(recipient, instr(recipient, '@') + 1), '>')) AS domain,
         sum(verdict = 'accept' AND code < 300) AS accepted,
         sum(verdict = 'defer' OR (verdict = 'accept' AND code BETWEEN 400 AND 499)) AS deferred,
         sum(verdict = 'reject' OR (verdict = 'accept' AND code >= 500)) AS rejected
       FROM attempts JOIN recipients ON attempt = n
       WHERE n >= (SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= :since)
         AND at >= :since AND upstream IS NOT NULL AND (:tenant IS NULL OR tenant = :tenant)
         AND (attempts.class LIKE 'accepted.%' OR attempts.class LIKE 'upstream.%') AND instr(recipient, '@') > 0
       GROUP BY prefix, domain LIMIT ${MAX_DOMAINS}`,
    );
    type Sums = { prefix: Uint8Array; domain: string; accepted: number; deferred: number; rejected: number };
    const rows = new Map<string, ReceiverRow & { accepted: number; deferred: number; rejected: number }>();
    for (const sums of statement.all({ since, tenant: tenant ?? null }) as unknown as readonly Sums[]) {
      const prefix = prefixText(sums.prefix);
      const receiver = sums.domain.startsWith('hash:') ? OTHER_RECEIVERS : receiverOf(sums.domain);
      const key = `${prefix} ${receiver}`;
      let row = rows.get(key);
      if (!row) rows.set(key, (row = { prefix, receiver, accepted: 0, deferred: 0, rejected: 0 }));
      row.accepted += sums.accepted;
      row.deferred += sums.deferred;
      row.rejected += sums.rejected;
    }
    const weight = (row: ReceiverRow): number => row.accepted + row.deferred + row.rejected;
    return [...rows.values()]
      .sort((a, b) => weight(b) - weight(a) || a.prefix.localeCompare(b.prefix) || a.receiver.localeCompare(b.receiver))
      .slice(0, limit);
  } finally {
    database.close();
  }
}

/** `198.51.100.0/24`, `2001:db8:1::/48` */
function prefixText(key: Uint8Array): string {
  const [family, ...octets] = key;
  if (family === 4) return `${octets.join('.')}.0/24`;
  const groups = [0, 2, 4].map((i) => (((octets[i] ?? 0) << 8) | (octets[i + 1] ?? 0)).toString(16));
  while (groups.length > 1 && groups.at(-1) === '0') groups.pop();
  return `${groups.join(':')}::/48`;
}
