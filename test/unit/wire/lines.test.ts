import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LineReader } from '../../../src/wire/lines.ts';

/** All lines and the fault, if any, of a text fed in pieces. */
function read(pieces: readonly string[], max = 2048): (string | { fault: string })[] {
  const reader = new LineReader(max);
  const seen: (string | { fault: string })[] = [];
  for (const piece of pieces) {
    reader.push(Buffer.from(piece, 'latin1'));
    for (;;) {
      const line = reader.next();
      if (line === undefined) break;
      seen.push(line);
      if (typeof line !== 'string') return seen;
    }
  }
  return seen;
}

const cases: readonly [string, (string | { fault: string })[]][] = [
  ['EHLO a\r\nQUIT\r\n', ['EHLO a', 'QUIT']],
  ['\r\n', ['']],
  ['a\nb\r\n', [{ fault: 'line-end' }]],
  ['a\rb\r\n', [{ fault: 'line-end' }]],
  ['a\r\r\n', [{ fault: 'line-end' }]],
  ['a\0b\r\n', [{ fault: 'line-end' }]],
  ['\n', [{ fault: 'line-end' }]],
  ['ok\r\nbad\n', ['ok', { fault: 'line-end' }]],
  ['\xff\xe9\r\n', ['\xff\xe9']],
];

describe('command lines', () => {
  for (const [text, want] of cases) {
    test(`${JSON.stringify(text)} at every cut`, () => {
      for (let cut = 0; cut <= text.length; cut++) {
        assert.deepEqual(read([text.slice(0, cut), text.slice(cut)]), want, `cut at ${cut}`);
      }
      assert.deepEqual(read(text.split('')), want, 'byte by byte');
    });
  }

  test('2,048 octets with CRLF pass, one more does not, wherever it is cut', () => {
    const good = `${'x'.repeat(2046)}\r\n`;
    const bad = `${'x'.repeat(2047)}\r\n`;
    for (const cut of [0, 1, 1024, 2045, 2046, 2047]) {
      assert.deepEqual(read([good.slice(0, cut), good.slice(cut)]), ['x'.repeat(2046)]);
      assert.deepEqual(read([bad.slice(0, cut), bad.slice(cut)]), [{ fault: 'line-length' }]);
    }
  });

  test('8 MB without a line end are cut off early', () => {
    const reader = new LineReader(2048);
    reader.push(Buffer.alloc(4096, 'x'));
    assert.deepEqual(reader.next(), { fault: 'line-length' });
  });
});
