import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { BodyReader } from '../../../src/wire/body.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { within } from '../../kit/pace.ts';

type Result = { end: number; fault: string | undefined; kept: string; bytes: number; lenient: boolean };

/** Feeds the text cut at the given places; `end` counts from the start of the text. */
function read(text: string, cuts: readonly number[], maxLineBytes = 1000, maxSizeBytes = 1 << 20): Result {
  const budget = new SpoolBudget(1 << 24);
  const spool = new SpooledBody(budget, 1 << 20, tmpdir());
  const reader = new BodyReader(spool, { maxLineBytes, maxSizeBytes });
  const all = Buffer.from(text, 'latin1');
  const places = [0, ...cuts, all.length];
  let end = -1;
  for (let i = 0; i + 1 < places.length && end < 0; i++) {
    const from = places[i] as number;
    const at = reader.push(Buffer.from(all.subarray(from, places[i + 1])), 0);
    if (at >= 0) end = from + at;
  }
  const kept = reader.fault === undefined ? Buffer.concat([...spool.read()]).toString('latin1') : '';
  const result = { end, fault: reader.fault, kept, bytes: reader.receivedBytes, lenient: reader.lenientEnd };
  spool.release();
  assert.equal(budget.heldBytes, 0, 'the budget is given back');
  return result;
}

/** Every way to cut a text once, and byte by byte. */
function* cutsOf(text: string): Generator<number[]> {
  yield [];
  for (let i = 1; i < text.length; i++) yield [i];
  for (let i = 1; i + 1 < text.length; i++) yield [i, i + 1];
  yield Array.from({ length: Math.max(0, text.length - 1) }, (_, i) => i + 1);
}

const GOOD: readonly [name: string, text: string, kept: string][] = [
  ['an empty body', '.\r\n', ''],
  ['one line', 'a\r\n.\r\n', 'a\r\n'],
  ['stuffed dots stay stuffed', '..\r\n...x\r\n.\r\n', '..\r\n...x\r\n'],
  ['a dot and more', '.x\r\n.\r\n', '.x\r\n'],
  ['empty lines', '\r\n\r\n.\r\n', '\r\n\r\n'],
  ['what follows is not read', 'a\r\n.\r\nQUIT\r\n', 'a\r\n'],
];

describe('a body', () => {
  for (const [name, text, kept] of GOOD) {
    test(`${name}, at every cut`, () => {
      for (const cuts of cutsOf(text)) {
        const got = read(text, cuts);
        assert.deepEqual(
          got,
          { end: text.indexOf('.\r\n', kept.length) + 3, fault: undefined, kept, bytes: kept.length, lenient: false },
          `cut at ${cuts.join(',')}`,
        );
      }
    });
  }

  const BAD: readonly [name: string, text: string, fault: string, lenient: boolean][] = [
    ['a bare LF', 'a\nb\r\n.\r\n', 'line-end', false],
    ['a bare CR', 'a\rb\r\n.\r\n', 'line-end', false],
    ['CR CR LF', 'a\r\r\n.\r\n', 'line-end', false],
    ['LF . LF', 'a\n.\nMAIL\r\n.\r\n', 'line-end', true],
    ['LF . CRLF', 'a\n.\r\nMAIL\r\n.\r\n', 'line-end', true],
    ['CRLF . LF', 'a\r\n.\nMAIL\r\n.\r\n', 'line-end', true],
    ['CR . CR', 'a\r.\rMAIL\r\n.\r\n', 'line-end', false],
    ['CRLF . CR', 'a\r\n.\rMAIL\r\n.\r\n', 'line-end', false],
    ['CRLF NUL . CRLF', 'a\r\n\0.\r\nb\r\n.\r\n', 'nul', false],
    ['NUL', 'a\0b\r\n.\r\n', 'nul', false],
  ];
  for (const [name, text, fault, lenient] of BAD) {
    test(`${name} is a fault at every cut, and only CRLF.CRLF ends it`, () => {
      const whole = read(text, []);
      for (const cuts of cutsOf(text)) {
        const got = read(text, cuts);
        assert.equal(got.fault, fault, `cut at ${cuts.join(',')}`);
        assert.equal(got.end, text.lastIndexOf('.\r\n') + 3, `cut at ${cuts.join(',')}`);
        assert.equal(got.lenient, lenient, `cut at ${cuts.join(',')}`);
        assert.equal(got.bytes, whole.bytes);
      }
    });
  }

  test('a NUL behind the end belongs to what follows', () => {
    assert.equal(read('a\r\n.\r\n\0', []).fault, undefined);
  });

  test('a line of exactly the bound passes, one octet more does not, at every cut', () => {
    for (const [length, fault] of [
      [98, undefined],
      [99, 'line-length'],
    ] as const) {
      const text = `${'x'.repeat(length)}\r\n.\r\n`;
      for (const cuts of cutsOf(text)) assert.equal(read(text, cuts, 100).fault, fault, `cut at ${cuts.join(',')}`);
    }
  });

  test('a body of exactly the bound passes, one octet more does not', () => {
    assert.equal(read('12345678\r\n.\r\n', [], 1000, 10).fault, undefined);
    assert.equal(read('123456789\r\n.\r\n', [], 1000, 10).fault, 'size');
  });

  test('a body beyond the budget is a fault and gives everything back', () => {
    const budget = new SpoolBudget(4);
    const reader = new BodyReader(new SpooledBody(budget, 1 << 20, tmpdir()), { maxLineBytes: 99, maxSizeBytes: 99 });
    assert.ok(reader.push(Buffer.from('123456\r\n.\r\n'), 0) > 0);
    assert.equal(reader.fault, 'memory');
    assert.equal(budget.heldBytes, 0);
  });

  test('lines without any CR cost no more than one pass', () => {
    const text = Buffer.from('x\n'.repeat(1 << 20));
    const reader = new BodyReader(new SpooledBody(new SpoolBudget(1 << 24), 1 << 24, tmpdir()), {
      maxLineBytes: 1000,
      maxSizeBytes: 1 << 24,
    });
    const begin = process.cpuUsage();
    reader.push(text, 0);
    const { user, system } = process.cpuUsage(begin);
    assert.equal(reader.fault, 'line-end');
    // Quadratic searching takes minutes here; a pass takes milliseconds. Processor time, so that load does not matter.
    assert.ok(within((user + system) / 1000, 5000), `${(user + system) / 1000} ms`);
  });
});

test('a body in segments of one byte costs what it weighs, in memory and in time', () => {
  const size = 256 * 1024;
  const reader = new BodyReader(new SpooledBody(new SpoolBudget(1 << 24), 1 << 24, tmpdir()), {
    maxLineBytes: 1000,
    maxSizeBytes: 1 << 24,
  });
  const line = `X: ${'y'.repeat(60)}\r\n`;
  const begin = process.cpuUsage();
  for (let i = 0; i < size; i++) reader.push(Buffer.from(line[i % line.length] as string, 'latin1'), 0);
  const pieces = [...reader.spool.read()];
  const { user, system } = process.cpuUsage(begin);
  assert.ok(pieces.length < 40, `${pieces.length} pieces`);
  assert.equal(
    Buffer.concat(pieces).toString('latin1'),
    line.repeat(size / line.length + 1).slice(0, Buffer.concat(pieces).length),
  );
  assert.ok(within((user + system) / 1000, 2000), `${(user + system) / 1000} ms`);
});
