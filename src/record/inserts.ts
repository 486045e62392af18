/**
 * Rows into the journal, many with one statement: a step of SQLite for each row costs more than the row.
 *
 * `n` counts the rows as they come. Slices of 2^11 of them are the first key of every index on what a sender chooses, so
 * that rows that come together touch few pages, however many there are already; what times a slice holds is in `slices`.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { ATTEMPT_WIDTH, atOf, type Batch, COLUMNS, idOf, pick, RECIPIENT_WIDTH, withKeys } from './rows.ts';
import { SLICE_SHIFT } from './schema.ts';

/** rows of one statement */
const AT_ONCE = [50, 8, 1] as const;
const SQLITE_CONSTRAINT = 19;

export class Inserts {
  readonly #database: DatabaseSync;
  readonly #attempts: Many;
  readonly #recipients: Many;
  readonly #last: StatementSync;
  readonly #known: StatementSync;
  readonly #slice: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#attempts = new Many(database, `attempts (n, ${COLUMNS.join(', ')})`, ATTEMPT_WIDTH);
    this.#recipients = new Many(database, 'recipients (attempt, i, recipient, code, class)', RECIPIENT_WIDTH);
    this.#last = database.prepare('SELECT max(n) AS n FROM attempts');
    this.#known = database.prepare('SELECT 1 FROM attempts WHERE id = ?');
    this.#slice = database.prepare(
      `INSERT INTO slices (slice, first_at, last_at) VALUES (?, ?, ?) ON CONFLICT (slice)
       DO UPDATE SET first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)`,
    );
  }

  /** One transaction: all of the batch, or an error and nothing of it. An id that is there already is left as it is. */
  write(batch: Batch): void {
    try {
      this.#write(batch);
    } catch (error) {
      if (((error as { errcode?: number }).errcode ?? 0) % 256 !== SQLITE_CONSTRAINT) throw error;
      // Sent a second time, after a thread died: once is enough.
      const seen = new Set<string>();
      this.#write(
        pick(batch, (position) => {
          const id = idOf(batch, position);
          if (seen.has(id) || this.#known.get(id) !== undefined) return false;
          seen.add(id);
          return true;
        }),
      );
    }
  }

  #write(batch: Batch): void {
    const database = this.#database;
    database.exec('BEGIN IMMEDIATE');
    try {
      const first = ((this.#last.get() as { n: number | null }).n ?? 0) + 1;
      this.#attempts.insert(first, withKeys(batch));
      this.#recipients.insert(first, batch.recipients);
      this.#noteTimes(batch, first);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }

  #noteTimes(batch: Batch, first: number): void {
    const times = new Map<number, [from: number, to: number]>();
    for (let position = 0; position < batch.count; position++) {
      const slice = Math.floor((first + position) / 2 ** SLICE_SHIFT);
      const at = atOf(batch, position);
      const [from, to] = times.get(slice) ?? [at, at];
      times.set(slice, [Math.min(from, at), Math.max(to, at)]);
    }
    for (const [slice, [from, to]] of times) this.#slice.run(slice, from, to);
  }
}

/** INSERTs of any number of rows; the first value of each is counted from `first`. */
class Many {
  readonly #width: number;
  readonly #statements: readonly (readonly [rows: number, statement: StatementSync])[];

  constructor(database: DatabaseSync, into: string, width: number) {
    this.#width = width;
    const row = `(?1 + ?${', ?'.repeat(width - 1)})`;
    this.#statements = AT_ONCE.map((rows) => [
      rows,
      database.prepare(`INSERT INTO ${into} VALUES ${Array.from({ length: rows }, () => row).join(', ')}`),
    ]);
  }

  insert(first: number, values: readonly SQLInputValue[]): void {
    let at = 0;
    for (const [rows, statement] of this.#statements) {
      const length = rows * this.#width;
      for (; values.length - at >= length; at += length) statement.run(first, ...values.slice(at, at + length));
    }
  }
}
