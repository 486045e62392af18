import assert from 'node:assert/strict';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, test } from 'node:test';
import type { Attempt } from '../../../src/record/events.ts';
import { type Journal, openJournal, type Retention } from '../../../src/record/journal.ts';
import { JournalFile } from '../../../src/record/journalfile.ts';
import { batchOf } from '../../../src/record/rows.ts';
import { migrate, migrations, NewerSchemaError } from '../../../src/record/schema.ts';
import { search, type Search } from '../../../src/record/search.ts';
import { hostile } from '../../kit/hostile.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const DAY_MS = 86_400_000;
const LONG: Retention = { keepMs: 36_500 * DAY_MS, maxSizeBytes: 2 ** 30 };
let dir: string;
let path: string;
let log: Logbook;
const open: Journal[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(dir, 'journal.db');
  log = logbook();
});
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close();
  rmSync(dir, { recursive: true, force: true });
});

function journal(retention = LONG): Journal {
  const opened = openJournal(path, retention, log);
  open.push(opened);
  return opened;
}
async function written(of: Journal, count: number): Promise<void> {
  await until(() => of.state().written >= count, `${count} rows are written`);
}
function file(): JournalFile {
  return new JournalFile(path, (level, event, fields) => log.write(level, event, fields));
}
const numbered = (n: number, change: Partial<Attempt> = {}): Attempt =>
  attempt({ id: `ID${String(n).padStart(14, '0')}`, at: 1_700_000_000_000 + n, ...change });
const ids = (rows: readonly Attempt[]): number[] => rows.map(({ id }) => Number(id.slice(2)));

test('what goes in comes out, field by field', async () => {
  const j = journal();
  const full = attempt({
    wouldBe: 'spam.gtube',
    recipients: [
      { recipient: 'bob@b.example', code: 250, class: 'accepted.clean' },
      { recipient: 'Carol@b.example', code: 550, class: 'upstream.reply' },
    ],
    recipientsOmitted: 7,
    findings: [{ filter: 'gtube', name: 'gtube', score: -2.5, evidence: 'XJS' }],
    sizeBytes: 2 ** 40,
    verdictMs: 0.25,
  });
  const bare = attempt({
    id: 'OTHER',
    at: full.at + 1,
    helo: undefined,
    sender: undefined,
    recipients: [],
    upstream: undefined,
    upstreamReply: undefined,
    verdictMs: undefined,
    relayMs: undefined,
    esmtp: false,
  });
  j.append([full, bare]);
  await written(j, 2);
  assert.deepEqual(await j.search({ limit: 10 }), { rows: [bare, full], more: false });
});

test('a search finds what was appended just before it, without waiting for more to come', async () => {
  const j = journal();
  await until(() => j.state().ok, 'it is open');
  // Each would wait for half a second; the machine may hold up some of them, too.
  let leastMs = Number.POSITIVE_INFINITY;
  for (let n = 0; n < 5 || (leastMs > 400 && n < 50); n++) {
    j.append([numbered(n)]);
    const began = performance.now();
    assert.equal(ids((await j.search({ limit: 1 })).rows)[0], n);
    leastMs = Math.min(leastMs, performance.now() - began);
  }
  assert.ok(leastMs < 400, `${leastMs} ms`);
});

test('so many searches at once are refused that nobody holds up the others', async () => {
  const j = journal();
  await until(() => j.state().ok, 'it is open');
  const all = await Promise.allSettled(Array.from({ length: 40 }, () => j.search({ limit: 1 })));
  const refused = all.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).message] : []));
  assert.equal(refused.length, 40 - 16);
  assert.equal(new Set(refused).size, 1);
  assert.match(refused[0] ?? '', /too many searches at once/);
});

test('what waits to be written is bounded by its size, too, and what is beyond is counted', async () => {
  const j = journal();
  const one = { recipient: `${'r'.repeat(900)}@b.example`, code: 250, class: 'accepted.clean' } as const;
  const recipients = Array.from({ length: 1000 }, () => one);
  for (let n = 0; n < 60; n++) j.append([numbered(n, { recipients })]);
  const { waiting, dropped } = j.state();
  assert.equal(waiting + dropped, 60);
  assert.ok(waiting >= 32 && waiting < 40, `${waiting} wait`);
});

test('what comes within half a second is one transaction; 500 are not waited with', async () => {
  const j = journal();
  await until(() => j.state().ok, 'it is open');
  const began = performance.now();
  let some = 0;
  // A busy machine may be through with fewer of them.
  for (let early = true; early && some < 40; early = performance.now() - began < 400) {
    if (some > 0) assert.equal(j.state().written, 0, 'nothing is written before');
    j.append([numbered(some++)]);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await written(j, some);
  assert.ok(performance.now() - began > 400);
  let leastMs = Number.POSITIVE_INFINITY;
  for (let round = 1; round === 1 || (leastMs > 400 && round < 50); round++) {
    j.append(Array.from({ length: 500 }, (_, n) => numbered(500 * round + n)));
    const full = performance.now();
    await written(j, some + 500 * round);
    leastMs = Math.min(leastMs, performance.now() - full);
  }
  assert.ok(leastMs < 400, `${leastMs} ms`);
});

test('hostile strings are stored and found as they are, and cost nothing else', async () => {
  const j = journal();
  const events = hostile.map((text, n) =>
    numbered(n, { sender: text.slice(0, 1000).toWellFormed(), helo: text.slice(0, 1000).toWellFormed() }),
  );
  j.append(events);
  await written(j, events.length);
  for (const [n, { sender }] of events.entries()) {
    const { rows } = await j.search({ senders: [sender as string], limit: 10 });
    // SQLite's text ends at a NUL for comparing no less than for storing: what was bound is what is found.
    assert.deepEqual(ids(rows), [n], JSON.stringify(sender));
    assert.equal(rows[0]?.helo, sender);
  }
});

test('filters: time, source, prefix, sender, recipient, class, main class, id, session, and all of them together', async () => {
  const j = journal();
  const base = 1_700_000_000_000;
  j.append([
    numbered(1, { source: '198.51.100.7', sender: 'alice@a.example', session: 'SESSION1' }),
    numbered(2, { source: '198.51.100.8', sender: 'Bob@B.example', class: 'spam.gtube', verdict: 'reject' }),
    numbered(3, {
      source: '2001:db8:1:2::7',
      sender: '<>',
      class: 'protocol.syntax',
      verdict: 'reject',
      session: 'SESSION1',
    }),
    numbered(4, {
      source: '203.0.113.9',
      recipients: [
        { recipient: 'carol@c.example', code: 250, class: 'accepted.clean' },
        { recipient: 'dave@d.example', code: 550, class: 'upstream.reply' },
      ],
    }),
    numbered(5, {
      source: '198.51.100.7',
      class: 'limit.connections',
      verdict: 'defer',
      sender: undefined,
      recipients: [],
    }),
  ]);
  await written(j, 5);
  const found = async (filter: Partial<Search>): Promise<number[]> =>
    ids((await j.search({ limit: 10, ...filter })).rows);
  assert.deepEqual(await found({}), [5, 4, 3, 2, 1]);
  assert.deepEqual(await found({ since: base + 2, until: base + 4 }), [3, 2]);
  assert.deepEqual(await found({ source: '198.51.100.7' }), [5, 1]);
  assert.deepEqual(await found({ source: '198.51.100.0/24' }), [5, 2, 1]);
  assert.deepEqual(await found({ source: '0.0.0.0/0' }), [5, 4, 2, 1]);
  assert.deepEqual(await found({ source: '2001:db8::/32' }), [3]);
  assert.deepEqual(await found({ source: '2001:db8:1:2::7' }), [3]);
  assert.deepEqual(await found({ senders: ['BOB@b.EXAMPLE'] }), [2]);
  assert.deepEqual(await found({ senders: ['<>'] }), [3]);
  assert.deepEqual(await found({ senders: ['nobody@a.example', 'alice@a.example'] }), [1]);
  assert.deepEqual(await found({ recipients: ['DAVE@d.example'] }), [4]);
  assert.deepEqual(await found({ class: 'spam.gtube' }), [2]);
  assert.deepEqual(await found({ class: 'spam' }), [2]);
  assert.deepEqual(await found({ class: 'upstream' }), [4], "a recipient's class counts");
  assert.deepEqual(await found({ class: 'lim' }), []);
  assert.deepEqual(await found({ id: 'id00000000000003' }), [3]);
  assert.deepEqual(await found({ id: 'session1' }), [3, 1]);
  assert.deepEqual(await found({ source: '198.51.100.7', class: 'limit' }), [5]);
  assert.deepEqual(await found({ source: '198.51.100.7', class: 'spam' }), []);
  assert.deepEqual(await j.search({ limit: 2 }).then(({ rows, more }) => [ids(rows), more]), [[5, 4], true]);
  assert.equal((await j.search({ limit: 5 })).more, false);
});

test('an answer is cut before it outgrows a line, and says so', async () => {
  const j = journal();
  const text = 'é'.repeat(900);
  const recipients = Array.from({ length: 100 }, () => ({
    recipient: text,
    code: 250,
    class: 'accepted.clean' as const,
  }));
  j.append(Array.from({ length: 60 }, (_, n) => numbered(n, { recipients })));
  await written(j, 60);
  const answer = await j.search({ limit: 60 });
  assert.equal(answer.more, true);
  assert.ok(answer.rows.length > 5 && answer.rows.length < 60);
  assert.ok(Buffer.byteLength(JSON.stringify(answer)) < 3.1 * 1024 * 1024);
});

test('an id that comes twice is one row: a batch that is sent again after a crash does no harm', () => {
  const f = file();
  f.write(batchOf([numbered(1), numbered(2)]));
  f.write(batchOf([numbered(2), numbered(3)]));
  f.close();
  assert.deepEqual(ids(search(path, { limit: 10 }).rows), [3, 2, 1]);
  assert.equal(search(path, { limit: 10 }).rows[1]?.recipients.length, 1);
});

test('within one batch, too; and each recipient stays with its attempt', () => {
  const f = file();
  const to = (n: number): Attempt =>
    numbered(n, {
      recipients: Array.from({ length: n % 4 }, (_, i) => ({
        recipient: `r${n}-${i}@b.example`,
        code: 250,
        class: 'accepted.clean' as const,
      })),
    });
  f.write(batchOf([to(1), to(2), to(1), to(3)]));
  f.write(batchOf(Array.from({ length: 137 }, (_, n) => to(n))));
  f.close();
  const { rows } = search(path, { limit: 1000 });
  assert.deepEqual(
    rows,
    Array.from({ length: 137 }, (_, n) => to(136 - n)),
  );
});

test('rows that are too old go, recipients with them, in slices', () => {
  const f = file();
  const now = 1_700_000_000_000 + 10 * DAY_MS;
  f.write(batchOf(Array.from({ length: 1200 }, (_, n) => numbered(n))));
  f.write(batchOf([numbered(5000, { at: now - DAY_MS })]));
  const retention = { ...LONG, keepMs: 5 * DAY_MS };
  assert.equal(f.prune(retention, now), true);
  assert.equal(search(path, { limit: 10_000 }).rows.length, 701, 'a slice is 500 rows');
  while (f.prune(retention, now));
  assert.deepEqual(ids(search(path, { limit: 10 }).rows), [5000]);
  f.close();
  const database = new DatabaseSync(path);
  assert.deepEqual({ ...database.prepare('SELECT count(*) AS n FROM recipients').get() }, { n: 1 });
  database.close();
});

test('a file that is too large loses its oldest rows and gives the room back', () => {
  const f = file();
  for (let batch = 0; batch < 20; batch++) {
    f.write(
      batchOf(Array.from({ length: 500 }, (_, n) => numbered(batch * 500 + n, { upstreamReply: 'x'.repeat(800) }))),
    );
  }
  const before = statSync(path).size;
  const maxSizeBytes = 4 * 1024 * 1024;
  assert.ok(before > 2 * maxSizeBytes, `${before}`);
  let slices = 0;
  while (f.prune({ ...LONG, maxSizeBytes }, 0)) slices++;
  const rows = search(path, { limit: 10_000 }).rows;
  assert.ok(slices > 3);
  assert.ok(rows.length > 1000 && rows.length < 9000, `${rows.length} rows`);
  assert.equal(ids(rows)[0], 9999, 'the newest stay');
  f.close();
  assert.ok(statSync(path).size <= maxSizeBytes * 1.1, `${statSync(path).size}`);
});

test('the journal prunes by itself, and takes a new retention without a restart', async () => {
  const now = Date.now();
  const j = journal();
  j.append(Array.from({ length: 100 }, (_, n) => numbered(n, { at: now - 2 * DAY_MS })));
  await written(j, 100);
  j.keep({ ...LONG, keepMs: DAY_MS });
  const gone = async (): Promise<void> => {
    while ((await j.search({ limit: 1 })).rows.length > 0);
  };
  await gone();
  assert.deepEqual(await j.search({ limit: 1 }), { rows: [], more: false });
});

for (const [what, spoil] of [
  ['is no database', () => writeFileSync(path, 'this is no database, it is a letter '.repeat(500))],
  [
    'lost its first page',
    () => writeFileSync(path, Buffer.concat([Buffer.alloc(4096), readFileSync(path).subarray(4096)])),
  ],
  [
    'has the tables of somebody else',
    () => {
      rmSync(path);
      const other = new DatabaseSync(path);
      other.exec('CREATE TABLE attempts (x); PRAGMA user_version = 1');
      other.close();
    },
  ],
] as const) {
  test(`a file that ${what} is kept aside at the start, and a new one begun`, async () => {
    const f = file();
    f.write(batchOf([numbered(1)]));
    f.close();
    spoil();
    const j = journal();
    j.append([numbered(2)]);
    await written(j, 1);
    assert.deepEqual(ids((await j.search({ limit: 10 })).rows), [2]);
    const fields = await log.seen('journal.damaged');
    assert.ok(statSync(String(fields['kept'])).size > 0);
    assert.equal(j.state().dropped, 0);
  });
}

test('damage deep inside, where nothing is read or written, is found without anybody asking for it', async () => {
  const f = file();
  for (let batch = 0; batch < 4; batch++) {
    const rows = Array.from({ length: 500 }, (_, n) =>
      numbered(batch * 500 + n, { helo: `row${batch * 500 + n}.example` }),
    );
    f.write(batchOf(rows));
  }
  f.close();
  const bytes = readFileSync(path);
  const page = Math.floor(bytes.indexOf('row1000.example') / 4096) * 4096;
  assert.ok(page > 0);
  bytes.fill(0xa5, page, page + 64);
  writeFileSync(path, bytes);
  const j = journal();
  await log.seen('journal.damaged');
  j.append([numbered(9000)]);
  await written(j, 1);
  assert.deepEqual(ids((await j.search({ limit: 10 })).rows), [9000]);
});

test('a file that is cut short while it is written is replaced as soon as that is noticed, and nothing written is refused', () => {
  const f = file();
  for (let batch = 0; batch < 8; batch++)
    f.write(batchOf(Array.from({ length: 500 }, (_, n) => numbered(batch * 500 + n))));
  f.close();
  f.write(batchOf([numbered(5000)]));
  truncateSync(path, 8192);
  let batches = 0;
  while (!log.events().includes('journal.damaged') && batches < 50) {
    f.write(batchOf(Array.from({ length: 50 }, (_, n) => numbered(6000 + batches * 50 + n))));
    batches++;
  }
  f.close();
  assert.deepEqual(log.events(), ['journal.damaged']);
  const [newest] = ids(search(path, { limit: 1 }).rows);
  assert.equal(newest, 6000 + batches * 50 - 1, 'the batch that met the damage is in the new file');
});

test('a file that was moved away is begun anew', async () => {
  const j = journal();
  j.append([numbered(1)]);
  await written(j, 1);
  renameSync(path, `${path}.taken`);
  j.append([numbered(2)]);
  await written(j, 2);
  assert.deepEqual(ids(search(path, { limit: 10 }).rows), [2]);
});

test('of damaged files the newest three are kept', () => {
  const f = file();
  for (let n = 0; n < 5; n++) {
    f.write(batchOf([numbered(n)]));
    writeFileSync(join(dir, `journal.db.damaged-2023010${n}T000000000Z`), '');
  }
  f.replace('tried');
  f.close();
  const kept = readdirSync(dir)
    .filter((name) => name.includes('damaged') && name.endsWith('Z'))
    .sort();
  assert.equal(kept.length, 3);
  assert.ok(kept[2]?.startsWith(`journal.db.damaged-${new Date().getUTCFullYear()}`));
});

const LATER = [...migrations, 'ALTER TABLE attempts ADD COLUMN colour TEXT', 'CREATE TABLE shapes (x)'];

test('a journal that an update has migrated goes on with the release before it, and with the update again', () => {
  const f = file();
  f.write(batchOf([numbered(1)]));
  f.close();
  const later = new DatabaseSync(path);
  migrate(later, LATER.slice(0, -1));
  later.exec("UPDATE attempts SET colour = 'blue'");
  later.close();

  const old = file();
  old.write(batchOf([numbered(2)]));
  old.close();
  assert.deepEqual(new Set(ids(search(path, { limit: 10 }).rows)), new Set([1, 2]));
  assert.deepEqual(log.entries, []);

  const again = new DatabaseSync(path);
  migrate(again, LATER.slice(0, -1));
  assert.deepEqual(
    again
      .prepare('SELECT colour FROM attempts ORDER BY n')
      .all()
      .map(({ colour }) => colour),
    ['blue', null],
  );
  again.close();
});

test('the last migration only adds, and nothing that a row must have: the release before can do without it', () => {
  const statements = (migrations.at(-1) as string).split(';').map((one) => one.trim());
  for (const statement of statements.filter((one) => one !== ''))
    assert.match(statement, /^(?:ALTER TABLE \w+ ADD COLUMN \w+ \w+(?: DEFAULT \S+)?|CREATE (?:INDEX|TABLE) [^]*)$/);
});

test('a journal of a release after the next is kept aside and a new one begun; its own release takes it back', () => {
  const f = file();
  f.write(batchOf([numbered(1)]));
  f.close();
  const later = new DatabaseSync(path);
  migrate(later, LATER);
  later.close();

  const old = file();
  old.write(batchOf([numbered(2)]));
  old.close();
  assert.deepEqual(ids(search(path, { limit: 10 }).rows), [2]);
  const { event, fields } = log.entries[0] as (typeof log.entries)[0];
  assert.equal(event, 'journal.newer');

  renameSync(String(fields['kept']), path);
  const again = new DatabaseSync(path);
  migrate(again, LATER);
  again.close();
  assert.deepEqual(ids(search(path, { limit: 10 }).rows), [1]);
});

test('migrations run once each, in order, and one that fails leaves the version before it', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database, ['CREATE TABLE a (x)']);
  migrate(database, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)']);
  assert.throws(() =>
    migrate(database, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)', 'CREATE TABLE c (x); CREATE TABLE a (x)']),
  );
  assert.deepEqual({ ...database.prepare('PRAGMA user_version').get() }, { user_version: 2 });
  assert.equal(database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'c'").get(), undefined);
  migrate(database, ['CREATE TABLE a (x)']);
  assert.throws(() => migrate(database, []), NewerSchemaError);
  database.close();
});

test('close writes what waits', async () => {
  const j = journal();
  j.append(Array.from({ length: 3000 }, (_, n) => numbered(n)));
  await j.close();
  assert.equal(j.state().dropped, 0);
  assert.equal(search(path, { limit: 10_000 }).rows.length, 3000);
  j.append([numbered(9000)]);
  assert.equal(j.state().dropped, 1, 'what comes after is counted');
});

test('a search of a journal that is not there says so', async () => {
  const j = journal();
  await until(() => j.state().ok, 'it is open');
  await j.close();
  rmSync(path);
  assert.throws(() => search(path, { limit: 1 }), /unable to open/);
});
