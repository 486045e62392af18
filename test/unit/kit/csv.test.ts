import assert from 'node:assert/strict';
import { test } from 'node:test';
import { csvLine, csvText } from '../../../src/kit/csv.ts';

test('Shows 5: whatever a stranger types, it is one clean line of CSV, and no cell is a formula', () => {
  const strangers = [
    '\u001b[31mred',
    'a\r\nb',
    'a\nFeedback',
    'nul\0',
    'line\u2028para\u2029',
    'bidi\u202e\u2066x',
    'c1\u009b',
    '\ud800',
  ];
  for (const text of strangers) {
    const line = csvLine(['id', text, 'end']);
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, JSON.stringify(text));
    assert.match(line, /^id,.*<U\+[0-9A-F]{4}>.*,end$/);
  }
  for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', ' =1', '=HYPERLINK("http://x","y")'])
    assert.match(csvLine([text]), /^(?:'|"' ?)/, text);
  assert.match(csvLine(['\t=1']), /^<U\+0009>=1$/, 'a tab is none any more');
});

test('commas, quotes and blanks at the ends are quoted; numbers are as they are', () => {
  assert.equal(csvLine(['a,b', 'say "x"', ' c', 'plain', 7, -1]), '"a,b","say ""x"""," c",plain,7,-1');
  assert.equal(csvText(['A', 'B'], [['x', 1]]), 'A,B\r\nx,1\r\n');
});
