/** What a disk can do to the journal, and what the journal does then. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { type Journal, openJournal } from '../../../src/record/journal.ts';
import { damageOf, search } from '../../../src/record/search.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';
import { count, needsRoot } from '../../kit/tier.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const RECOVERY_MS = 10_000;
let dir: string;
let log: Logbook;
const cleanups: (() => void | Promise<void>)[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-disk-'));
  log = logbook();
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  rmSync(dir, { recursive: true, force: true });
});

function run(file: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${file} ${args.join(' ')}: ${stderr}`);
}
function disk(options: string): void {
  run('mount', '-t', 'tmpfs', '-o', options, 'postern-test', dir);
  cleanups.push(() => void spawnSync('umount', ['-l', dir]));
}
function journal(): Journal {
  const opened = openJournal(join(dir, 'journal.db'), { keepMs: 1e15, maxSizeBytes: 2 ** 30 }, log);
  cleanups.push(() => opened.close());
  return opened;
}
/** Takes all the room that is left. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (const size of [65_536, 4096]) {
      const block = Buffer.alloc(size);
      assert.throws(
        () => {
          for (;;) writeSync(file, block);
        },
        { code: 'ENOSPC' },
      );
    }
  } finally {
    closeSync(file);
  }
}
let last = 0;
const some = (howMany: number): ReturnType<typeof attempt>[] =>
  Array.from({ length: howMany }, () => attempt({ id: `ID${++last}`, at: last }));

test('disk full: what does not fit waits, then is counted; recovers by itself within 10 s', {
  skip: needsRoot,
}, async () => {
  disk('size=48m');
  const j = journal();
  j.append(some(100));
  await until(() => j.state().written === 100, 'the first are written');
  fill(join(dir, 'filler'));

  // What has room in the file's own pages may still be written: nothing is lost and nothing throws, that is the claim.
  j.append(some(5_000));
  await until(() => !j.state().ok, 'the trouble shows');
  assert.match(String(j.state().problem), /full|disk I\/O/);
  assert.equal(j.state().dropped, 0);
  j.append(some(9_000));
  const { written, waiting, dropped } = j.state();
  assert.equal(written + waiting + dropped, 14_100, 'every attempt is written, waits, or is counted');
  assert.ok(dropped > 0 && waiting <= 10_500);
  await log.seen('journal.dropping');

  rmSync(join(dir, 'filler'));
  await until(() => j.state().ok && j.state().waiting === 0, 'it recovers', RECOVERY_MS);
  const after = j.state();
  assert.equal(after.written + after.dropped, 14_100);
  assert.equal(after.dropped, dropped);
  assert.equal((await j.search({ limit: 1, since: 0 })).rows.length, 1);
});

test('read-only at the start: attempts wait; recovers when it can be written', { skip: needsRoot }, async () => {
  disk('size=16m,ro');
  const j = journal();
  j.append(some(50));
  await log.seen('journal.problem');
  assert.deepEqual([j.state().ok, j.state().waiting], [false, 50]);
  await assert.rejects(j.search({ limit: 1 }), /the journal cannot be read/);
  run('mount', '-o', 'remount,rw', dir);
  await until(() => j.state().ok && j.state().written === 50, 'it recovers', RECOVERY_MS);
  assert.equal((await j.search({ limit: 100 })).rows.length, 50);
});

test('no inode left: the same', { skip: needsRoot }, async () => {
  disk('size=16m,nr_inodes=2');
  const j = journal();
  j.append(some(50));
  await log.seen('journal.problem');
  assert.equal(j.state().written, 0);
  run('mount', '-o', 'remount,nr_inodes=100', dir);
  await until(() => j.state().ok && j.state().written === 50, 'it recovers', RECOVERY_MS);
});

test('the disk is taken away while it is written: begun anew when there is one again', {
  skip: needsRoot,
}, async () => {
  disk('size=16m');
  const j = journal();
  j.append(some(50));
  await until(() => j.state().written === 50, 'written');
  run('umount', '-l', dir);
  j.append(some(50));
  await until(() => j.state().written === 100, 'it goes on in what is there now', RECOVERY_MS);
  assert.equal(search(join(dir, 'journal.db'), { limit: 100 }).rows.length, 50);
});

type Line = { readonly ok: boolean; readonly written: number; readonly dropped: number; readonly problem?: string };
type Child = { readonly process: ChildProcessByStdio<null, Readable, null>; readonly latest: () => Line };

function child(prefix: string, pauseMs = 0): Child {
  const args = [join(import.meta.dirname, 'journal-child.ts'), join(dir, 'journal.db'), prefix, String(pauseMs)];
  const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(() => void process_.kill('SIGKILL'));
  let latest: Line = { ok: false, written: 0, dropped: 0 };
  createInterface(process_.stdout).on('line', (line) => (latest = JSON.parse(line) as Line));
  return { process: process_, latest: () => latest };
}

test('EIO: writes fail with an error of the system; attempts wait; recovers when they succeed again', async () => {
  const { process: it, latest } = child('A', 5);
  await until(() => latest().written > 20, 'it writes');
  const { size } = statSync(join(dir, 'journal.db'));
  run('prlimit', '--pid', String(it.pid), `--fsize=${size}:unlimited`);
  await until(() => !latest().ok, 'the trouble shows');
  assert.match(String(latest().problem), /disk I\/O error|full/);
  assert.equal(latest().dropped, 0);
  const { written } = latest();
  run('prlimit', '--pid', String(it.pid), '--fsize=unlimited:unlimited');
  await until(() => latest().ok && latest().written > written, 'it recovers', RECOVERY_MS);
  assert.equal(latest().dropped, 0);
  it.kill('SIGKILL');
  await once(it, 'exit');
  assert.equal(damageOf(join(dir, 'journal.db')), undefined);
});

const kills = count(5, 50);
test(`killed ${kills} times while writing: opens again, with at most the last batch missing`, async () => {
  let before = 0;
  for (let round = 0; round < kills; round++) {
    const { process: it, latest } = child(`R${round}`);
    // At another moment each time: after so many rows have been said to be written.
    await until(() => latest().written >= 1 + ((round * 397) % 1500), 'it writes');
    it.kill('SIGKILL');
    await once(it, 'exit');
    const { written } = latest();

    const path = join(dir, 'journal.db');
    assert.equal(damageOf(path), undefined, `round ${round}`);
    const database = new DatabaseSync(path);
    const { n } = database.prepare('SELECT count(*) AS n FROM attempts WHERE id LIKE ?').get(`R${round}-%`) as {
      n: number;
    };
    const { lost } = database
      .prepare('SELECT max(at) + 1 - count(*) AS lost FROM attempts WHERE id LIKE ?')
      .get(`R${round}-%`) as { lost: number };
    const { alone } = database
      .prepare('SELECT count(*) AS alone FROM attempts WHERE n NOT IN (SELECT attempt FROM recipients)')
      .get() as { alone: number };
    const { total } = database.prepare('SELECT count(*) AS total FROM attempts').get() as { total: number };
    database.close();
    assert.ok(n >= written, `round ${round}: ${written} were said to be written, ${n} are there`);
    assert.deepEqual({ lost, alone }, { lost: 0, alone: 0 }, `round ${round}: no hole, no half of an attempt`);
    assert.ok(total >= before + n, `round ${round}: earlier rounds are still there`);
    before = total;
  }
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.includes('damaged')),
    [],
  );
});
