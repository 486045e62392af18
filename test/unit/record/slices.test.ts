/** What a journal of many slices costs and finds: neither depends on how many there are. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, test } from 'node:test';
import * as fc from 'fast-check';
import type { Class } from '../../../src/policy/classes.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { JournalFile } from '../../../src/record/journalfile.ts';
import { batchOf, COLUMNS, sourceKey } from '../../../src/record/rows.ts';
import { migrate, migrations, SLICE_SHIFT } from '../../../src/record/schema.ts';
import { inSlice, search, type Search } from '../../../src/record/search.ts';
import { count, seed } from '../../kit/tier.ts';
import { attempt } from '../ledger/sample.ts';

const START_MS = 1_700_000_000_000;
const SLICE = 2 ** SLICE_SHIFT;
let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slices-'));
  path = join(dir, 'journal.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const file = (): JournalFile => new JournalFile(path, (...line) => assert.fail(JSON.stringify(line)));
const CLASSES: readonly Class[] = ['spam.gtube', 'upstream.reply', 'accepted.observed', 'protocol.syntax'];

/** Mostly accepted and in order; some recorded long after they began, some by a clock that was wrong. */
function made(n: number): Attempt {
  const late = n % 97 === 0 ? 600_000 : n % 1013 === 0 ? -5_000_000 : 0;
  return attempt({
    id: `ID${String(n).padStart(14, '0')}`,
    session: `SE${String(n >> 1).padStart(14, '0')}`,
    at: START_MS + n * 100 - late,
    source: n % 5 === 0 ? `2001:db8:1:${n % 7}::7` : `198.51.${n % 3}.${(n * 31) % 200}`,
    sender: n % 11 === 0 ? '<>' : `s${(n * 7919) % 300}@a.example`,
    recipients: Array.from({ length: n % 50 === 0 ? 3 : 1 }, (_, i) => ({
      recipient: `r${(n * 104_729 + i) % 900}@b.example`,
      code: 250,
      class: n % 50 === 0 && i === 1 ? 'upstream.reply' : 'accepted.clean',
    })),
    class: n % 41 === 0 ? (CLASSES[n % CLASSES.length] as Class) : 'accepted.clean',
  });
}

function fill(f: JournalFile, from: number, to: number): void {
  for (let n = from; n < to; n += 500)
    f.write(batchOf(Array.from({ length: Math.min(500, to - n) }, (_, i) => made(n + i))));
}

for (const [what, asked, plan] of [
  ['time', { since: 1, until: 2 }, /SEARCH attempts USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)/],
  ['source', { source: '198.51.100.7' }, /SEARCH attempts USING INDEX attempts_source \(<expr>=\? AND source_key>\?/],
  ['prefix', { source: '2001:db8::/32' }, /SEARCH attempts USING INDEX attempts_source \(<expr>=\? AND source_key>\?/],
  [
    'sender',
    { senders: ['a@a.example', 'hash:0'] },
    /SEARCH attempts USING INDEX attempts_sender \(<expr>=\? AND send/,
  ],
  [
    'recipient',
    { recipients: ['b@b.example', 'hash:0'] },
    /SEARCH recipients USING COVERING INDEX recipients_recipient \(<expr>=\? AND recipient=\?/,
  ],
  [
    'class',
    { class: 'spam.gtube' },
    /INDEX attempts_class \(<expr>=\? AND class>[\s\S]*INDEX recipients_class \(<expr>=\?/,
  ],
  [
    'main class',
    { class: 'spam' },
    /INDEX attempts_class \(<expr>=\? AND class>[\s\S]*INDEX recipients_class \(<expr>=\?/,
  ],
  [
    'the usual class',
    { class: 'accepted.clean' },
    /SEARCH attempts USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)/,
  ],
  ['id', { id: 'X' }, /INTEGER PRIMARY KEY|MULTI-INDEX OR/],
  [
    'all of them',
    { since: 1, source: '198.51.100.7', senders: ['a@a.example'], recipients: ['b@b.example'], class: 'spam' },
    /SEARCH/,
  ],
] as const) {
  test(`asked for ${what}, one slice is answered without looking at others`, () => {
    const f = file();
    fill(f, 0, 10);
    f.close();
    const database = new DatabaseSync(path);
    const { sql, values } = inSlice(database, { limit: 10, ...asked });
    const explained = database.prepare(`EXPLAIN QUERY PLAN ${sql}`);
    explained.setAllowUnknownNamedParameters(true);
    const steps = explained.all({ slice: 0, first: 0, last: 1, most: 1 }, ...values).map(({ detail }) => detail);
    database.close();
    assert.match(steps.join('\n'), plan);
    assert.doesNotMatch(steps.join('\n'), /SCAN (attempts|recipients)/);
  });
}

test('an id is found by its index, in whichever slice it is', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  const sql = `SELECT n >> ${SLICE_SHIFT} FROM attempts WHERE (id IN (?, ?) OR session IN (?, ?))`;
  const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all('a', 'b', 'a', 'b');
  database.close();
  const text = steps.map(({ detail }) => detail).join('\n');
  assert.match(text, /MULTI-INDEX OR/);
  assert.doesNotMatch(text, /SCAN attempts/);
});

test('any question over many slices finds what looking at every row finds, newest first', () => {
  const rows = 5 * SLICE + 77;
  const f = file();
  fill(f, 0, rows);
  f.close();
  const all = Array.from({ length: rows }, (_, n) => made(n))
    .map((row, n) => ({ row, n }))
    .sort((a, b) => b.row.at - a.row.at || b.n - a.n)
    .map(({ row }) => row);
  const within = (row: Attempt, { since = 0, until = Infinity }: Search): boolean => row.at >= since && row.at < until;
  const ofClass = (row: Attempt, asked: string): boolean =>
    [row.class, ...row.recipients.map((one) => one.class)].some((one) => one === asked || one.startsWith(`${asked}.`));
  const expected = (asked: Search): Attempt[] =>
    all
      .filter((row) => within(row, asked))
      .filter((row) => asked.source === undefined || row.source === asked.source || asked.source === '198.51.0.0/16')
      .filter((row) => asked.source !== '198.51.0.0/16' || row.source.startsWith('198.51.'))
      .filter((row) => !asked.senders || asked.senders.includes(String(row.sender)))
      .filter((row) => !asked.recipients || row.recipients.some((one) => asked.recipients?.includes(one.recipient)))
      .filter((row) => asked.class === undefined || ofClass(row, asked.class))
      .filter((row) => asked.id === undefined || [row.id, row.session].includes(asked.id));
  const at = fc.integer({ min: -5_000_000, max: rows * 100 }).map((ms) => START_MS + ms);
  const n = fc.nat(rows);
  const any = fc.record({
    since: at,
    until: at,
    source: fc.oneof(
      n.map((of) => made(of).source),
      fc.constant('198.51.0.0/16'),
    ),
    senders: fc.array(
      n.map((of) => String(made(of).sender)),
      { minLength: 1, maxLength: 2 },
    ),
    recipients: fc.array(
      n.map((of) => made(of).recipients[0]?.recipient as string),
      { minLength: 1, maxLength: 2 },
    ),
    class: fc.constantFrom(...CLASSES, 'accepted.clean', 'accepted', 'spam', 'upstream'),
    id: fc.oneof(
      n.map((of) => made(of).id),
      n.map((of) => made(of).session),
    ),
  });
  // Few of them at once: most rows have not all of them.
  const keys = fc.subarray(['since', 'until', 'source', 'senders', 'recipients', 'class', 'id'] as const, {
    maxLength: 2,
  });
  const question = fc
    .tuple(any, keys, fc.constantFrom(1, 7, 60, 300, 3000, 10_000))
    .map(([of, some, limit]): Search => ({ ...Object.fromEntries(some.map((key) => [key, of[key]])), limit }));
  fc.assert(
    fc.property(question, (asked) => {
      const found = search(path, asked);
      const should = expected(asked);
      const few = should.slice(0, found.rows.length);
      assert.deepEqual(
        found.rows.map(({ id }) => id),
        few.map(({ id }) => id),
      );
      assert.deepEqual(found.rows[0], few[0]);
      assert.equal(found.more, should.length > found.rows.length);
      // Only the size of an answer cuts it shorter than was asked.
      assert.ok(found.rows.length === Math.min(should.length, asked.limit) || found.rows.length > 1000);
    }),
    { seed, numRuns: count(60, 1000) },
  );
});

test('rows of a journal made by the first release are found, and those that come after them', () => {
  const old = new DatabaseSync(path);
  migrate(old, migrations.slice(0, 1));
  const had = new Set(
    old
      .prepare('PRAGMA table_info (attempts)')
      .all()
      .map(({ name }) => name),
  );
  const columns = COLUMNS.filter((name) => had.has(name));
  const marks = columns.map(() => '?').join(', ');
  const insert = old.prepare(`INSERT INTO attempts (${columns.join(', ')}) VALUES (${marks})`);
  const recipient = old.prepare('INSERT INTO recipients VALUES (?, ?, ?, ?, ?)');
  const rows = 2 * SLICE + 10;
  old.exec('BEGIN');
  for (let n = 0; n < rows; n++) {
    const one = made(n);
    const { attempts } = batchOf([one]);
    const values = attempts.slice(1);
    values[COLUMNS.indexOf('source_key')] = sourceKey(one.source);
    const { lastInsertRowid } = insert.run(...values.filter((_, i) => had.has(COLUMNS[i] ?? '')));
    for (const [i, to] of one.recipients.entries()) recipient.run(lastInsertRowid, i, to.recipient, to.code, to.class);
  }
  old.exec('COMMIT');
  old.close();

  const f = file();
  fill(f, rows, rows + 100);
  assert.equal(f.measure().oldest, made(0).at - 0 < made(1013).at ? made(0).at : made(1013).at);
  f.close();
  for (const n of [0, 1, SLICE, rows - 1, rows, rows + 99]) {
    // What was not recorded then is not known.
    const one = n < rows ? { ...made(n), upstreamTls: undefined } : made(n);
    assert.deepEqual(search(path, { id: one.id, limit: 10 }).rows, [one]);
    const { rows: found } = search(path, {
      senders: [String(one.sender)],
      since: one.at,
      until: one.at + 1,
      limit: 10,
    });
    assert.deepEqual(found, [one]);
  }
  assert.equal(search(path, { class: 'spam', limit: 10_000 }).rows.length, expectedSpam(rows + 100));
});

function expectedSpam(rows: number): number {
  return Array.from({ length: rows }, (_, n) => made(n)).filter((one) => one.class.startsWith('spam.')).length;
}

test('pruned from whichever slice has the oldest rows, until none is too old', () => {
  const rows = 3 * SLICE;
  const f = file();
  fill(f, 0, rows);
  const keepMs = 200_000;
  const nowMs = START_MS + rows * 100;
  while (f.prune({ keepMs, maxSizeBytes: 2 ** 30 }, nowMs));
  const kept = Array.from({ length: rows }, (_, n) => made(n)).filter(({ at }) => at >= nowMs - keepMs);
  assert.equal(f.measure().oldest, Math.min(...kept.map(({ at }) => at)));
  f.close();
  const found = search(path, { limit: 10_000 });
  assert.deepEqual(new Set(found.rows.map(({ id }) => id)), new Set(kept.map(({ id }) => id)));
  const database = new DatabaseSync(path);
  const orphans = database.prepare(
    'SELECT count(*) AS n FROM recipients WHERE attempt NOT IN (SELECT n FROM attempts)',
  );
  assert.deepEqual({ ...orphans.get() }, { n: 0 });
  const empty = database.prepare(
    `SELECT count(*) AS n FROM slices WHERE slice NOT IN (SELECT n >> ${SLICE_SHIFT} FROM attempts)`,
  );
  assert.deepEqual({ ...empty.get() }, { n: 0 });
  database.close();
});

test('a row among many costs what a row among few does', () => {
  const written = (): number => Number(/^wchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1]);
  const f = file();
  const costOf = (from: number): number => {
    const before = written();
    fill(f, from, from + 10_000);
    return (written() - before) / 10_000;
  };
  fill(f, 0, 10_000);
  const few = costOf(10_000);
  const large = count(80_000, 1_000_000);
  fill(f, 20_000, large);
  const many = costOf(large);
  f.close();
  assert.ok(many < few * 1.15, `${few.toFixed(0)} octets a row at 10,000 rows, ${many.toFixed(0)} at ${large}`);
});
