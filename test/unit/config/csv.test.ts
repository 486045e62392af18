/** Rows of CSV, written every way that RFC 4180 allows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CsvError, csvRows } from '../../../src/config/csv.ts';
import { seed } from '../../kit/tier.ts';

const rows = (text: string): unknown[] => [...csvRows(text)].map(({ line, cells }) => [line, ...cells]);

test('plain rows, either line end, empty lines, a byte order mark, no line end at the end', () => {
  assert.deepEqual(rows('\ufeffa,b\r\n\n1,2\n,\r\n\r\nlast,'), [
    [1, 'a', 'b'],
    [3, '1', '2'],
    [4, '', ''],
    [6, 'last', ''],
  ]);
  assert.deepEqual(rows(''), []);
});

test('quotes, with commas, quotes and line ends in them; lines are counted on', () => {
  assert.deepEqual(rows('"a,b","say ""no""",c\nx,"two\nlines"\ny,z\n'), [
    [1, 'a,b', 'say "no"', 'c'],
    [2, 'x', 'two\nlines'],
    [4, 'y', 'z'],
  ]);
});

for (const [what, text, line] of [
  ['not closed', 'a\n"b', 2],
  ['something behind it', '"a"b\n', 1],
  ['in the middle', 'a\nb"c"\n', 2],
] as const)
  test(`a quote that is ${what} is an error of its line`, () => {
    assert.throws(
      () => rows(text),
      (error) => error instanceof CsvError && error.line === line,
    );
  });

test('what is written is read again', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r\n', ' '), maxLength: 6 });
  fc.assert(
    fc.property(fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 5 }), (table) => {
      const text = table.map((row) => row.map((one) => `"${one.replaceAll('"', '""')}"`).join(',')).join('\r\n');
      assert.deepEqual(
        [...csvRows(text)].map(({ cells }) => cells),
        table,
      );
    }),
    { seed },
  );
});
