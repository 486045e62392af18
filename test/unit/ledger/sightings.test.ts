import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parsePrefix, type Prefix } from '../../../src/kit/address.ts';
import { Sightings } from '../../../src/ledger/sightings.ts';
import { logbook } from '../../kit/logbook.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-sightings-'));
after(() => rmSync(directory, { recursive: true }));
const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => parsePrefix(text) as Prefix);
const CUSTOMERS = ['198.51.100.0/25', '2001:db8:1::/48'];

test('each prefix has the time of its last host, over restarts; who is in none changes nothing', () => {
  const path = join(directory, 'kept.json');
  const log = logbook();
  const first = new Sightings(path, log, prefixes(...CUSTOMERS));
  assert.deepEqual(
    CUSTOMERS.map((one) => first.lastAt(one)),
    [undefined, undefined],
  );
  for (const [source, at] of [
    ['198.51.100.7', 20],
    ['198.51.100.8', 10],
    ['198.51.100.200', 30],
    ['nobody', 40],
  ] as const)
    first.saw(source, at);
  assert.deepEqual(
    CUSTOMERS.map((one) => first.lastAt(one)),
    [20, undefined],
  );
  first.write();

  const second = new Sightings(path, log, prefixes(...CUSTOMERS));
  second.saw('2001:db8:1:2::3', 50);
  assert.deepEqual(
    CUSTOMERS.map((one) => second.lastAt(one)),
    [20, 50],
  );
  second.configure(prefixes('2001:db8:1::/48', '203.0.113.0/24'));
  assert.deepEqual(
    ['198.51.100.0/25', '2001:db8:1::/48', '203.0.113.0/24'].map((one) => second.lastAt(one)),
    [undefined, 50, undefined],
  );
  assert.deepEqual(log.entries, []);
});

test('nothing new, nothing written; a file that is none, or that cannot be written, is told of once', () => {
  const path = join(directory, 'broken.json');
  writeFileSync(path, '{"sightings":[{"prefix":1}]}');
  const log = logbook();
  const one = new Sightings(path, log, prefixes(...CUSTOMERS));
  one.write();
  assert.equal(readFileSync(path, 'utf8'), '{"sightings":[{"prefix":1}]}');
  const nowhere = new Sightings(join(directory, 'missing/file.json'), log, prefixes(...CUSTOMERS));
  for (const at of [1, 2]) {
    nowhere.saw('198.51.100.7', at);
    nowhere.write();
  }
  assert.deepEqual(
    log.entries.map(({ event }) => event),
    ['sightings.not-kept', 'sightings.not-kept'],
  );
});
