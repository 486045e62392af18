/**
 * Questions to the journal. Each opens the file anew, reads only and can take seconds on a large journal: it runs in a
 * thread of its own, beside the one that writes.
 */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { parseAddress, parsePrefix } from '../kit/address.ts';
import type { Class } from '../policy/classes.ts';
import type { Attempt, Finding, RecipientOutcome } from './events.ts';
import type { LogAnswer, LogFilter } from './query.ts';

/** The filter with every word under which an address may have been written (`Privacy.words`). */
export type Search = Omit<LogFilter, 'sender' | 'recipient'> & {
  readonly senders?: readonly string[];
  readonly recipients?: readonly string[];
};

/** One answer must fit into a line of the keeper's socket. */
const MAX_ANSWER_BYTES = 3 * 1024 * 1024;
const BUSY_TIMEOUT_MS = 2_000;

/** An address as octets that sort: family, then the address; what is no address sorts last, as its text. */
export function sourceKey(text: string): Buffer {
  const address = parseAddress(text);
  return address ? keyOf(address.family, address.value) : Buffer.concat([Buffer.of(0xff), Buffer.from(text)]);
}

function keyOf(family: 4 | 6, value: bigint): Buffer {
  return Buffer.from(`0${family}${value.toString(16).padStart(family === 4 ? 8 : 32, '0')}`, 'hex');
}

type Condition = readonly [sql: string, ...values: SQLInputValue[]];

function conditions(search: Search): Condition[] {
  const all: Condition[] = [];
  if (search.since !== undefined) all.push(['at >= ?', search.since]);
  if (search.until !== undefined) all.push(['at < ?', search.until]);
  if (search.source !== undefined) {
    const prefix = parsePrefix(search.source);
    if (prefix) {
      const size = 1n << BigInt((prefix.family === 4 ? 32 : 128) - prefix.length);
      all.push([
        'source_key BETWEEN ? AND ?',
        keyOf(prefix.family, prefix.base),
        keyOf(prefix.family, prefix.base + size - 1n),
      ]);
    } else {
      all.push(['source_key = ?', sourceKey(search.source)]);
    }
  }
  if (search.senders) all.push([`sender IN (${marks(search.senders)})`, ...search.senders]);
  if (search.recipients) {
    const sql = `n IN (SELECT attempt FROM recipients WHERE recipient IN (${marks(search.recipients)}))`;
    all.push([sql, ...search.recipients]);
  }
  if (search.class !== undefined) {
    // "spam" is every class from "spam." to before "spam/": "/" follows "." in the table of characters.
    const [from, to] = search.class.includes('.')
      ? [search.class, `${search.class}\0`]
      : [`${search.class}.`, `${search.class}/`];
    all.push([
      `n IN (SELECT n FROM attempts WHERE class >= ? AND class < ?
             UNION SELECT attempt FROM recipients WHERE class >= ? AND class < ?)`,
      from,
      to,
      from,
      to,
    ]);
  }
  if (search.id !== undefined) {
    const id = search.id.trim();
    all.push(['(id IN (?, ?) OR session IN (?, ?))', id, id.toUpperCase(), id, id.toUpperCase()]);
  }
  return all;
}

function marks(list: readonly unknown[]): string {
  return list.map(() => '?').join(', ');
}

type Row = {
  readonly n: number;
  readonly at: number;
  readonly id: string;
  readonly session: string;
  readonly worker: number;
  readonly network: string;
  readonly mode: string;
  readonly source: string;
  readonly source_port: number;
  readonly destination: string;
  readonly destination_port: number;
  readonly helo: string | null;
  readonly esmtp: number;
  readonly sender: string | null;
  readonly omitted: number;
  readonly size: number;
  readonly verdict: 'accept' | 'defer' | 'reject';
  readonly class: Class;
  readonly would_be: Class | null;
  readonly reply: string;
  readonly egress: 'smarthost';
  readonly upstream: string | null;
  readonly upstream_reply: string | null;
  readonly findings: string | null;
  readonly verdict_ms: number | null;
  readonly relay_ms: number | null;
  readonly total_ms: number;
};

/** Throws SQLite's error when the file cannot be read. */
export function search(path: string, asked: Search): LogAnswer {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const where = conditions(asked);
    const sql = where.length > 0 ? `WHERE ${where.map(([condition]) => condition).join(' AND ')}` : '';
    const values = where.flatMap(([, ...rest]) => rest);
    const recipientsOf = database.prepare('SELECT recipient, code, class FROM recipients WHERE attempt = ? ORDER BY i');
    const rows: Attempt[] = [];
    let bytes = 0;
    const found = database.prepare(`SELECT * FROM attempts ${sql} ORDER BY at DESC, n DESC LIMIT ?`);
    for (const raw of found.iterate(...values, asked.limit + 1)) {
      if (rows.length === asked.limit) return { rows, more: true };
      const row = raw as unknown as Row;
      const attempt = attemptOf(row, recipientsOf.all(row.n) as unknown as readonly RecipientOutcome[]);
      bytes += Buffer.byteLength(JSON.stringify(attempt)) + 1;
      if (bytes > MAX_ANSWER_BYTES && rows.length > 0) return { rows, more: true };
      rows.push(attempt);
    }
    return { rows, more: false };
  } finally {
    database.close();
  }
}

/** What `PRAGMA quick_check` finds wrong with the file; undefined when nothing. Reads all of it. */
export function damageOf(path: string): string | undefined {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const { quick_check: found } = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string };
    return found === 'ok' ? undefined : found;
  } finally {
    database.close();
  }
}

function attemptOf(row: Row, recipients: readonly RecipientOutcome[]): Attempt {
  return {
    kind: 'attempt',
    id: row.id,
    session: row.session,
    at: row.at,
    worker: row.worker,
    network: row.network,
    mode: row.mode,
    source: row.source,
    sourcePort: row.source_port,
    destination: row.destination,
    destinationPort: row.destination_port,
    helo: row.helo ?? undefined,
    esmtp: row.esmtp === 1,
    sender: row.sender ?? undefined,
    recipients: recipients.map(({ recipient, code, class: of }) => ({ recipient, code, class: of })),
    ...(row.omitted > 0 ? { recipientsOmitted: row.omitted } : {}),
    sizeBytes: row.size,
    verdict: row.verdict,
    class: row.class,
    wouldBe: row.would_be ?? undefined,
    reply: row.reply,
    egress: row.egress,
    upstream: row.upstream ?? undefined,
    upstreamReply: row.upstream_reply ?? undefined,
    findings: row.findings === null ? [] : (JSON.parse(row.findings) as readonly Finding[]),
    verdictMs: row.verdict_ms ?? undefined,
    relayMs: row.relay_ms ?? undefined,
    totalMs: row.total_ms,
  };
}
