import assert from 'node:assert/strict';
import { test } from 'node:test';
import { age, bytes, shown, table } from '../../../src/cli/show.ts';
import { hostile, RAW_CONTROL } from '../../kit/hostile.ts';

test('no control, direction or hidden character is shown as itself', () => {
  for (const text of hostile) {
    assert.doesNotMatch(shown(text), RAW_CONTROL);
    assert.doesNotMatch(shown(text), /[\n\t\u00ad]/);
  }
  assert.equal(shown('\x1b[2Jä\u202e\u{e0041}\n'), '\\x1b[2Jä\\u202e\\u{e0041}\\x0a');
  assert.equal(shown('plain text, ünï & 漢字'), 'plain text, ünï & 漢字');
});

test('a table has its columns under their heads, and one line a row whatever is in it', () => {
  assert.equal(
    table(
      ['A', 'LONG'],
      [
        ['1', 'x'],
        ['two', ''],
      ],
    ),
    'A    LONG\n1    x\ntwo\n',
  );
  const rows = hostile.map((text) => [text, text]);
  const text = table(['X', 'Y'], rows);
  assert.equal(text.split('\n').length, rows.length + 2);
  assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 202);
});

test('times and sizes for people', () => {
  assert.deepEqual([0, 900, 61_000, 3_600_000, 90_061_000].map(age), ['0s', '1s', '1m 1s', '1h', '1d 1h']);
  assert.deepEqual([0, 1023, 1536, 5 * 2 ** 20, 2 ** 31].map(bytes), [
    '0 B',
    '1023 B',
    '1.5 KiB',
    '5.0 MiB',
    '2.0 GiB',
  ]);
});
