import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Clock } from '../../../src/kit/clock.ts';
import type { Log } from '../../../src/kit/log.ts';
import { LockError, Locks } from '../../../src/ledger/locks.ts';
import type { Lock } from '../../../src/ledger/language.ts';

const HOUR_MS = 3_600_000;
let dir: string;
let path: string;
let nowMs: number;
let lines: string[];
const clock: Clock = { nowMs: () => nowMs, monotonicMs: () => 0 };
const log: Log = { write: (level, event) => void lines.push(`${level} ${event}`) };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'locks-'));
  path = join(dir, 'locks.json');
  nowMs = 1_700_000_000_000;
  lines = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function wanted(subject: string, change: Partial<Lock> = {}): Omit<Lock, 'since'> {
  return { subject, how: 'kernel', reason: 'spam', who: 'ops', until: undefined, ...change };
}
const open = (): Locks => new Locks(path, clock, log);
const subjects = (locks: Locks): string[] => locks.list().map((lock) => lock.subject);

test('locks survive a restart, with all that was said', () => {
  const locks = open();
  locks.lock(wanted('198.51.100.7', { reason: 'Spam "x" \u2028 ü', how: 'reject', until: nowMs + HOUR_MS }));
  locks.lock(wanted('2001:db8:1:2::/64'));
  assert.deepEqual(open().list(), JSON.parse(JSON.stringify(locks.list())));
  assert.deepEqual(open().list()[0], {
    subject: '198.51.100.7/32',
    how: 'reject',
    reason: 'Spam "x" \u2028 ü',
    who: 'ops',
    since: nowMs,
    until: nowMs + HOUR_MS,
  });
  assert.deepEqual(readdirSync(dir), ['locks.json']);
});

test('one subject has one lock: the last word counts; unlock takes it away for good', () => {
  const locks = open();
  locks.lock(wanted('198.51.100.7', { reason: 'one' }));
  locks.lock(wanted('198.51.100.7/32', { reason: 'two' }));
  assert.deepEqual(
    locks.list().map((lock) => lock.reason),
    ['two'],
  );
  locks.unlock('198.51.100.7', 'ops');
  assert.deepEqual([subjects(locks), subjects(open())], [[], []]);
  assert.throws(() => locks.unlock('198.51.100.7', 'ops'), /is not locked; "postern locks" lists/);
});

for (const [subject, message] of [
  ['0.0.0.0/0', /too wide/],
  ['128.0.0.0/1', /too wide/],
  ['192.0.0.0/7', /too wide/],
  ['::/0', /too wide/],
  ['2001::/16', /too wide/],
  ['127.0.0.1', /gateway itself/],
  ['127.5.0.0/16', /gateway itself/],
  ['::1', /gateway itself/],
  ['::ffff:127.0.0.1', /gateway itself/],
  ['198.51.100.7/24', /no address and no prefix/],
  ['example.net', /no address and no prefix/],
  ['', /no address and no prefix/],
] as const) {
  test(`"${subject}" is never locked, and the answer says why`, () => {
    const locks = open();
    assert.throws(
      () => locks.lock(wanted(subject)),
      (error: unknown) => error instanceof LockError && message.test(error.message),
    );
    assert.deepEqual(subjects(locks), []);
  });
}

test('a /8 and a /32 of IPv6 are the widest that are', () => {
  const locks = open();
  locks.lock(wanted('10.0.0.0/8'));
  locks.lock(wanted('2001:db8::/32'));
  assert.deepEqual(subjects(locks), ['10.0.0.0/8', '2001:db8::/32']);
});

test('a lock ends at its time, is forgotten, and not before', () => {
  const locks = open();
  locks.lock(wanted('198.51.100.7', { until: nowMs + HOUR_MS }));
  nowMs += HOUR_MS - 1;
  assert.equal(locks.tidy(), false);
  assert.deepEqual(subjects(locks), ['198.51.100.7/32']);
  nowMs += 1;
  assert.deepEqual(subjects(locks), []);
  assert.equal(locks.tidy(), true);
  assert.equal(JSON.parse(readFileSync(path, 'utf8')).locks.length, 0);
  assert.throws(() => locks.lock(wanted('198.51.100.8', { until: nowMs })), /has passed/);
});

test('a clock that steps an hour back or on neither keeps a lock for ever nor ends it early', () => {
  const start = nowMs;
  const locks = open();
  locks.lock(wanted('198.51.100.7', { until: start + 2 * HOUR_MS }));
  nowMs = start - HOUR_MS;
  assert.deepEqual(subjects(locks), ['198.51.100.7/32'], 'set back: still locked');
  locks.tidy();
  nowMs = start + HOUR_MS;
  assert.deepEqual(subjects(locks), ['198.51.100.7/32'], 'set on, but not beyond until: still locked');
  nowMs = start + 2 * HOUR_MS;
  assert.deepEqual(subjects(locks), [], 'at until: open');
});

for (const [what, text] of [
  ['cut in the middle', '{"version":1,"locks":[{"subject":"198.51'],
  ['empty', ''],
  ['of another shape', '{"locks":[{"subject":7}]}'],
  ['with a subject that is no prefix', '{"locks":[{"subject":"x","how":"kernel","reason":"","who":"","since":1}]}'],
  ['null', 'null'],
] as const) {
  test(`a file that is ${what} is kept aside, said loudly, and mail goes on`, () => {
    writeFileSync(path, text);
    const locks = open();
    assert.deepEqual(subjects(locks), []);
    assert.deepEqual(lines, ['error locks.damaged']);
    const [kept] = readdirSync(dir);
    assert.match(String(kept), /^locks\.json\.damaged-/);
    assert.equal(readFileSync(join(dir, String(kept)), 'utf8'), text);
    locks.lock(wanted('198.51.100.7'));
    assert.deepEqual(subjects(open()), ['198.51.100.7/32']);
  });
}

test('a lock holds even when it cannot be written, and is written as soon as it can be', () => {
  const locks = open();
  mkdirSync(`${path}.new`);
  const { notKept } = locks.lock(wanted('198.51.100.7'));
  assert.match(String(notKept), /locks\.json cannot be written/);
  assert.deepEqual(subjects(locks), ['198.51.100.7/32']);
  assert.ok(lines.includes('error locks.not-written'));
  rmdirSync(`${path}.new`);
  locks.tidy();
  assert.deepEqual(subjects(open()), ['198.51.100.7/32']);
});

test('a file that cannot be read just now is not written over; its locks come when it can', () => {
  open().lock(wanted('198.51.100.7'));
  const text = readFileSync(path);
  rmSync(path);
  mkdirSync(path);
  const locks = open();
  assert.deepEqual(lines.slice(-1), ['error locks.not-read']);
  assert.match(String(locks.lock(wanted('198.51.100.8')).notKept), /cannot be read/);
  rmdirSync(path);
  writeFileSync(path, text);
  assert.equal(locks.tidy(), true);
  assert.deepEqual(subjects(open()).sort(), ['198.51.100.7/32', '198.51.100.8/32']);
});

test('as many as go into one line, then an error that says what to do', () => {
  const locks = open();
  const text = JSON.stringify({
    locks: Array.from({ length: 10_000 }, (_, i) => ({ ...wanted(`10.0.${i >> 8}.${i & 255}/32`), since: 1 })),
  });
  writeFileSync(path, text);
  const full = open();
  assert.equal(full.list().length, 10_000);
  assert.throws(() => full.lock(wanted('198.51.100.7')), /lock a prefix that covers several/);
  assert.equal(full.list().length, 10_000);
  assert.equal(locks.list().length, 0);
});

test('the log has whom a lock is of, and not the name behind him: what is kept of that is his network’s to say', () => {
  const told: unknown[] = [];
  const locks = new Locks(path, clock, { write: (_level, event, fields) => void told.push([event, fields]) });
  const whom = { how: 'reject', identity: 'bob@example.com' } as const;
  locks.lock(wanted('198.51.100.7', { ...whom, until: nowMs + HOUR_MS }));
  nowMs += HOUR_MS;
  locks.tidy();
  locks.lock(wanted('198.51.100.7', whom));
  locks.unlock('198.51.100.7', 'ops', whom.identity);
  assert.deepEqual(
    told.map((one) => (one as [string])[0]),
    ['lock.set', 'lock.expired', 'lock.set', 'lock.removed'],
  );
  const text = JSON.stringify(told);
  assert.doesNotMatch(text, /bob/);
  assert.equal(text.match(/"subject":"198\.51\.100\.7\/32","ofIdentity":true/g)?.length, 4);
});
