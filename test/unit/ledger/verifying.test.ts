/** Who has refused our certificate, for which server: remembered for a time, over restarts, and never too many. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Clock } from '../../../src/kit/clock.ts';
import { MAX_PAIRS } from '../../../src/ledger/language.ts';
import { Verifying } from '../../../src/ledger/verifying.ts';
import { UntilTable } from '../../../src/ledger/untiltable.ts';
import { logbook } from '../../kit/logbook.ts';

const HOUR_MS = 3_600_000;
const PAIR = { subject: '198.51.100.7', server: '203.0.113.25:25' };
let dir: string;
let path: string;
let nowMs: number;
let log: ReturnType<typeof logbook>;
let table: UntilTable;
const clock: Clock = { nowMs: () => nowMs, monotonicMs: () => 0 };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'verifying-'));
  path = join(dir, 'verifying.json');
  nowMs = 1_700_000_000_000;
  log = logbook();
  table = new UntilTable();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const keyOf = ({ subject, server }: typeof PAIR): string => `${subject} ${server}`;
const open = (): Verifying =>
  new Verifying(path, clock, log, (told) =>
    table.told(
      told.map((one) => [keyOf(one), one.until]),
      false,
    ),
  );
const has = (pair = PAIR): boolean => table.has(keyOf(pair), nowMs);

test('remembered for its time, told to workers, counted, and renewed by another refusal', () => {
  const verifying = open();
  verifying.remember(PAIR, HOUR_MS);
  assert.ok(has());
  assert.ok(!has({ ...PAIR, server: '203.0.113.26:25' }));
  verifying.carried(PAIR, 1000);
  verifying.carried({ ...PAIR, server: 'another' }, 1000);
  nowMs += HOUR_MS / 2;
  verifying.remember(PAIR, HOUR_MS);
  const since = nowMs - HOUR_MS / 2;
  assert.deepEqual(verifying.list(), [{ ...PAIR, since, until: nowMs + HOUR_MS, carried: 1, bytes: 1000 }]);
  nowMs += HOUR_MS;
  assert.ok(!has(), 'it has run out');
  assert.deepEqual(verifying.list(), []);
  verifying.tidy();
  assert.equal(verifying.size, 0);
});

test('over a restart; for the keeper alone to read; forgotten by hand', () => {
  const verifying = open();
  verifying.remember(PAIR, HOUR_MS);
  verifying.tidy();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const again = open();
  assert.deepEqual(again.list(), verifying.list());
  assert.equal(again.forget(PAIR)?.server, PAIR.server);
  assert.ok(!has());
  assert.equal(again.forget(PAIR), undefined);
  again.tidy();
  assert.deepEqual(open().list(), []);
});

test('a file that is damaged is said once, and mail goes on', () => {
  writeFileSync(path, '{"pairs": [7]}');
  const verifying = open();
  assert.deepEqual(verifying.list(), []);
  verifying.remember(PAIR, HOUR_MS);
  verifying.tidy();
  assert.equal(open().size, 1);
  assert.equal(log.events().filter((event) => event === 'verifying.not-kept').length, 1);
});

test('the oldest is forgotten when there are too many, by the workers too', () => {
  const verifying = open();
  verifying.remember(PAIR, HOUR_MS);
  for (let i = 0; i < MAX_PAIRS; i++) verifying.remember({ subject: 'x', server: `${i}` }, HOUR_MS);
  assert.equal(verifying.size, MAX_PAIRS);
  assert.ok(!has());
});

test('the whole list replaces what a worker knew', () => {
  table.told([[keyOf(PAIR), nowMs + 1]], false);
  assert.ok(has());
  table.told([], true);
  assert.ok(!has());
});
