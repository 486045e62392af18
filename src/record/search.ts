/**
 * Questions to the journal. Each opens the file anew, reads only and can take seconds on a large journal: it runs in a
 * thread of its own, beside the one that writes.
 *
 * Slice after slice is looked into, the one with the newest row first, until there are enough rows that are newer than
 * whatever the slices left over can have.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { parsePrefix } from '../kit/address.ts';
import { shortHash } from '../kit/ids.ts';
import type { Attempt, RecipientOutcome } from './events.ts';
import type { LogAnswer, LogFilter } from './query.ts';
import { attemptOf, keyOf, type Row, sourceKey } from './rows.ts';
import { SLICE_SHIFT, USUAL_CLASS } from './schema.ts';

/** The filter with every word under which an address may have been written (`Privacy.words`). */
export type Search = Omit<LogFilter, 'identity' | 'sender' | 'recipient'> & {
  readonly identities?: readonly string[];
  readonly senders?: readonly string[];
  readonly recipients?: readonly string[];
};

/** One answer must fit into a line of the keeper's socket. */
const MAX_ANSWER_BYTES = 3 * 1024 * 1024;
const BUSY_TIMEOUT_MS = 2_000;

type Condition = readonly [sql: string, ...values: SQLInputValue[]];

/** What must hold of a row of the slice `:slice`; each can be answered by an index that begins with the slice. */
function conditions(search: Search): Condition[] {
  const all: Condition[] = [];
  if (search.since !== undefined) all.push(['at >= ?', search.since]);
  if (search.until !== undefined) all.push(['at < ?', search.until]);
  if (search.source !== undefined) {
    const prefix = parsePrefix(search.source);
    if (prefix) {
      const size = 1n << BigInt((prefix.family === 4 ? 32 : 128) - prefix.length);
      all.push([
        `n >> ${SLICE_SHIFT} = :slice AND source_key BETWEEN ? AND ?`,
        keyOf(prefix.family, prefix.base),
        keyOf(prefix.family, prefix.base + size - 1n),
      ]);
    } else {
      all.push([`n >> ${SLICE_SHIFT} = :slice AND source_key = ?`, sourceKey(search.source)]);
    }
  }
  if (search.identities)
    all.push([`n >> ${SLICE_SHIFT} = :slice AND identity IN (${marks(search.identities)})`, ...search.identities]);
  if (search.senders)
    all.push([`n >> ${SLICE_SHIFT} = :slice AND sender IN (${marks(search.senders)})`, ...search.senders]);
  if (search.recipients) {
    const sql = `n IN (SELECT attempt FROM recipients
      WHERE attempt >> ${SLICE_SHIFT} = :slice AND recipient IN (${marks(search.recipients)}))`;
    all.push([sql, ...search.recipients]);
  }
  if (search.subscriber !== undefined) all.push([`n >> ${SLICE_SHIFT} = :slice AND subscriber = ?`, search.subscriber]);
  if (search.tenant !== undefined) all.push([`n >> ${SLICE_SHIFT} = :slice AND tenant = ?`, search.tenant]);
  if (search.class !== undefined) all.push(classCondition(search.class));
  if (search.messageId !== undefined)
    all.push([`n >> ${SLICE_SHIFT} = :slice AND message = ?`, shortHash(search.messageId)]);
  if (search.id !== undefined) all.push(idCondition(search.id));
  return all;
}

function classCondition(asked: string): Condition {
  // "spam" is every class from "spam." to before "spam/": "/" follows "." in the table of characters.
  const [from, to] = asked.includes('.') ? [asked, `${asked}\0`] : [`${asked}.`, `${asked}/`];
  const range = 'class >= ? AND class < ?';
  // The usual class is in no index; nor is it sought there: nearly every row has it.
  if (from <= USUAL_CLASS && USUAL_CLASS < to) {
    const sql = `(${range} OR EXISTS (SELECT 1 FROM recipients WHERE attempt = attempts.n AND ${range}))`;
    return [sql, from, to, from, to];
  }
  const indexed = `class <> '${USUAL_CLASS}' AND ${range}`;
  return [
    `n IN (SELECT n FROM attempts WHERE n >> ${SLICE_SHIFT} = :slice AND ${indexed}
           UNION SELECT attempt FROM recipients WHERE attempt >> ${SLICE_SHIFT} = :slice AND ${indexed})`,
    from,
    to,
    from,
    to,
  ];
}

function idCondition(asked: string): Condition {
  const id = asked.trim();
  return ['(id IN (?, ?) OR session IN (?, ?))', id, id.toUpperCase(), id, id.toUpperCase()];
}

function marks(list: readonly unknown[]): string {
  return list.map(() => '?').join(', ');
}

type Found = { readonly n: number; readonly at: number };
type Slice = { readonly slice: number; readonly last_at: number };

/** Throws SQLite's error when the file cannot be read. */
export function search(path: string, asked: Search): LogAnswer {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    // All that is read is read as it is now, whatever is written or deleted meanwhile.
    database.exec('BEGIN');
    const rowOf = database.prepare('SELECT * FROM attempts WHERE n = ?');
    const recipientsOf = database.prepare('SELECT recipient, code, class FROM recipients WHERE attempt = ? ORDER BY i');
    const rows: Attempt[] = [];
    let bytes = 0;
    for (const { n } of newest(database, asked)) {
      if (rows.length === asked.limit) return { rows, more: true };
      const row = rowOf.get(n) as unknown as Row;
      const attempt = attemptOf(row, recipientsOf.all(n) as unknown as readonly RecipientOutcome[]);
      bytes += Buffer.byteLength(JSON.stringify(attempt)) + 1;
      if (bytes > MAX_ANSWER_BYTES && rows.length > 0) return { rows, more: true };
      rows.push(attempt);
    }
    return { rows, more: false };
  } finally {
    database.close();
  }
}

/** What is found, newest first: at most one more than the limit. */
function newest(database: DatabaseSync, asked: Search): readonly Found[] {
  const most = asked.limit + 1;
  const { statement, values } = inSlice(database, asked);
  let found: Found[] = [];
  for (const { slice, last_at: lastAt } of slices(database, asked)) {
    if (found.length === most && (found[most - 1] as Found).at > lastAt) break;
    const first = slice * 2 ** SLICE_SHIFT;
    const named = { slice, first, last: first + 2 ** SLICE_SHIFT - 1, most };
    const more = statement.all(named, ...values) as unknown as readonly Found[];
    if (more.length === 0) continue;
    found = [...found, ...more].sort((a, b) => b.at - a.at || b.n - a.n).slice(0, most);
  }
  return found;
}

/** The question to one slice, of which `:slice` is the number, `:first` and `:last` are the rows. */
export function inSlice(
  database: DatabaseSync,
  asked: Search,
): { readonly sql: string; readonly statement: StatementSync; readonly values: readonly SQLInputValue[] } {
  const where: readonly Condition[] = [['n BETWEEN :first AND :last'], ...conditions(asked)];
  const sql = `SELECT n, at FROM attempts WHERE ${where.map(([condition]) => condition).join(' AND ')}
    ORDER BY at DESC, n DESC LIMIT :most`;
  const statement = database.prepare(sql);
  // A question without any of the indexed conditions does not name its slice.
  statement.setAllowUnknownNamedParameters(true);
  return { sql, statement, values: where.flatMap(([, ...values]) => values) };
}

/** Those in which something may be found, the one with the newest row first. */
function slices(database: DatabaseSync, asked: Search): readonly Slice[] {
  const where: Condition[] = [];
  if (asked.since !== undefined) where.push(['last_at >= ?', asked.since]);
  if (asked.until !== undefined) where.push(['first_at < ?', asked.until]);
  if (asked.id !== undefined) {
    const [sql, ...values] = idCondition(asked.id);
    where.push([`slice IN (SELECT n >> ${SLICE_SHIFT} FROM attempts WHERE ${sql})`, ...values]);
  }
  const sql = where.length > 0 ? `WHERE ${where.map(([condition]) => condition).join(' AND ')}` : '';
  const values = where.flatMap(([, ...rest]) => rest);
  const statement = database.prepare(`SELECT slice, last_at FROM slices ${sql} ORDER BY last_at DESC`);
  return statement.all(...values) as unknown as readonly Slice[];
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
