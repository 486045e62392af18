/**
 * The journal's file: opened, written in transactions, kept within its age and size. Synchronous; lives in a thread.
 *
 * Every commit is synced (WAL, synchronous = FULL), so a cut costs at most what was not committed yet. A file that turns
 * out damaged, now or later, is moved aside and a new one begun: what happens next is worth more than what is lost.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Fields, Level } from '../kit/log.ts';
import { Inserts } from './inserts.ts';
import type { Batch } from './rows.ts';
import { migrate, NewerSchemaError, SLICE_SHIFT } from './schema.ts';

export type Retention = { readonly keepMs: number; readonly maxSizeBytes: number };
type LogLine = (level: Level, event: string, fields: Fields) => void;

const BUSY_TIMEOUT_MS = 2_000;
const PRUNE_ROWS = 500;
const DAMAGED_KEPT = 3;

/** What SQLite says when the file itself is at fault, and when its surroundings are (full, read-only, EIO, locked, gone). */
const DAMAGED = new Set([11, 26]);
const SURROUNDINGS = new Set([3, 5, 6, 7, 8, 10, 13, 14, 15, 23]);

type Fault = 'damaged' | 'newer' | 'surroundings' | 'other';

export function faultOf(error: unknown): Fault {
  if (error instanceof NewerSchemaError) return 'newer';
  const { errcode, code } = error as { errcode?: number; code?: string };
  const primary = (errcode ?? 0) & 0xff;
  if (DAMAGED.has(primary)) return 'damaged';
  // Errors of node:fs (a directory that cannot be made or written) carry a code and a call.
  if (SURROUNDINGS.has(primary) || (code !== undefined && 'syscall' in (error as object))) return 'surroundings';
  return 'other';
}

export function explain(error: unknown): string {
  const { message, errstr } = error as { message?: string; errstr?: string };
  return errstr !== undefined && errstr !== message ? `${message} (${errstr})` : (message ?? String(error));
}

export class JournalFile {
  readonly #path: string;
  readonly #log: LogLine;
  #database: DatabaseSync | undefined;
  #inserts: Inserts | undefined;
  #inode = 0;

  constructor(path: string, log: LogLine) {
    this.#path = path;
    this.#log = log;
  }

  get isOpen(): boolean {
    return this.#database !== undefined;
  }

  /** Opens or begins the file. Throws only for what may pass by itself: no space, no permission, EIO. */
  open(): void {
    if (this.#database && this.#isStillThere()) return;
    this.close();
    try {
      this.#open();
    } catch (error) {
      this.close();
      const fault = faultOf(error);
      if (fault === 'surroundings') throw error;
      this.#moveAside(explain(error), fault === 'newer' ? 'newer' : 'damaged');
      this.#open();
    }
  }

  #open(): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o750 });
    // Recipients are written and deleted with their attempt, here alone: SQLite need not look for it each time.
    const database = new DatabaseSync(this.#path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: false });
    this.#database = database;
    // Only an empty file takes auto_vacuum; it lets the file shrink again without being written anew.
    database.exec(`
      PRAGMA auto_vacuum = INCREMENTAL;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA journal_size_limit = 8388608;
      PRAGMA temp_store = MEMORY;
      PRAGMA cache_size = -16384;
    `);
    migrate(database);
    this.#inserts = new Inserts(database);
    this.#inode = statSync(this.#path).ino;
  }

  /** One transaction: all of the batch, or an error and nothing of it. An id that is there already is left as it is. */
  write(batch: Batch): void {
    this.open();
    try {
      this.#inserts?.write(batch);
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error;
      this.replace(explain(error));
      this.#inserts?.write(batch);
    }
  }

  /**
   * Deletes some of the rows that are too old, or the oldest of a file that is too large. A slice of bounded length;
   * true when there is more to do.
   */
  prune({ keepMs, maxSizeBytes }: Retention, nowMs: number): boolean {
    this.open();
    const before = this.#usedBytes() > maxSizeBytes ? Number.MAX_SAFE_INTEGER : nowMs - keepMs;
    const deleted = this.#deleteBefore(before);
    if (deleted > 0) this.#database?.exec('PRAGMA incremental_vacuum(2000)');
    return deleted > 0 && (this.#oldestSlice(nowMs - keepMs) !== undefined || this.#usedBytes() > maxSizeBytes);
  }

  /** The slice with the oldest row that is older than `before`. */
  #oldestSlice(before: number): number | undefined {
    const found = this.#database?.prepare('SELECT slice FROM slices WHERE first_at < ? ORDER BY first_at LIMIT 1');
    return (found?.get(before) as { slice: number } | undefined)?.slice;
  }

  /** At most PRUNE_ROWS, of one slice. */
  #deleteBefore(before: number): number {
    const slice = this.#oldestSlice(before);
    if (slice === undefined) return 0;
    const database = this.#database as DatabaseSync;
    const first = slice * 2 ** SLICE_SHIFT;
    const within = [first, first + 2 ** SLICE_SHIFT - 1] as const;
    database.exec('BEGIN IMMEDIATE');
    try {
      const oldest = `SELECT n FROM attempts WHERE n BETWEEN ? AND ? AND at < ? ORDER BY at, n LIMIT ${PRUNE_ROWS}`;
      database.prepare(`DELETE FROM recipients WHERE attempt IN (${oldest})`).run(...within, before);
      const { changes } = database.prepare(`DELETE FROM attempts WHERE n IN (${oldest})`).run(...within, before);
      database
        .prepare('DELETE FROM slices WHERE slice = ? AND NOT EXISTS (SELECT 1 FROM attempts WHERE n BETWEEN ? AND ?)')
        .run(slice, ...within);
      database
        .prepare('UPDATE slices SET first_at = (SELECT min(at) FROM attempts WHERE n BETWEEN ? AND ?) WHERE slice = ?')
        .run(...within, slice);
      database.exec('COMMIT');
      return Number(changes);
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }

  #usedBytes(): number {
    const pragma = (name: string): number => {
      const row = this.#database?.prepare(`PRAGMA ${name}`).get() as Record<string, number>;
      return row[name] ?? 0;
    };
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  }

  /** Octets on disk, and the time of the oldest row. */
  measure(): { readonly sizeBytes: number; readonly oldest: number | undefined } {
    let sizeBytes = 0;
    for (const suffix of ['', '-wal', '-shm']) {
      sizeBytes += statSync(this.#path + suffix, { throwIfNoEntry: false })?.size ?? 0;
    }
    const row = this.#database?.prepare('SELECT min(first_at) AS oldest FROM slices').get() as {
      oldest: number | null;
    };
    return { sizeBytes, oldest: row.oldest ?? undefined };
  }

  /** Damage was found: begin a new file. */
  replace(reason: string): void {
    this.close();
    this.#moveAside(reason, 'damaged');
    this.open();
  }

  close(): void {
    const database = this.#database;
    this.#database = undefined;
    try {
      database?.close();
    } catch {
      // a file that cannot be closed properly is recovered when it is opened next
    }
  }

  /** False when the file was moved or replaced under our feet: what we write would go nowhere. */
  #isStillThere(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  #moveAside(reason: string, why: 'damaged' | 'newer'): void {
    const kept = `${this.#path}.${why}-${new Date().toISOString().replace(/[-:.]/g, '')}`;
    for (const suffix of ['', '-wal', '-shm']) {
      if (statSync(this.#path + suffix, { throwIfNoEntry: false })) renameSync(this.#path + suffix, kept + suffix);
    }
    this.#log('error', `journal.${why}`, { path: this.#path, reason, kept, effect: 'a new journal is begun' });
    const directory = dirname(this.#path);
    const old = readdirSync(directory)
      .filter((name) => name.startsWith(`${basename(this.#path)}.damaged-`) && name.endsWith('Z'))
      .sort()
      .slice(0, -DAMAGED_KEPT);
    for (const name of old)
      for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, name + suffix), { force: true });
  }
}
