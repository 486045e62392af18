import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { safeJson } from '../../../src/kit/log.ts';

test('no control, line separator or direction character comes through, and the value is the same', () => {
  const hostile = Array.from({ length: 0x3000 }, (_, i) => String.fromCharCode(i)).join('') + '\ufeff\ud83d\ude00';
  // In pieces, since a long string is cut.
  const pieces = hostile.match(/[\s\S]{1,900}/g) ?? [];
  const text = safeJson({ pieces });
  assert.doesNotMatch(text, /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u);
  assert.deepEqual(JSON.parse(text), { pieces });
});

test('a string is cut at 1,000 characters, wherever it stands', () => {
  const value = JSON.parse(
    safeJson({ a: 'x'.repeat(1_000_000), b: ['y'.repeat(1001)], c: 'z'.repeat(1000) }),
  ) as Record<string, string>;
  assert.equal(value['a'], `${'x'.repeat(1000)}…`);
  assert.equal(value['b']?.[0], `${'y'.repeat(1000)}…`);
  assert.equal(value['c'], 'z'.repeat(1000));
});

test('a bigint is written as its digits', () => {
  assert.equal(safeJson({ n: 12345678901234567890n }), '{"n":"12345678901234567890"}');
});

const script = `
  import { stdoutLog } from ${JSON.stringify(join(import.meta.dirname, '../../../src/kit/log.ts'))};
  const log = stdoutLog('worker 1');
  for (let i = 0; i < 3; i++) log.write('warn', 'test.event', { i, helo: 'a\\n{"level":"error"}' });
`;
const run = (stdout: number | 'pipe') =>
  spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
    timeout: 30_000,
  });

test('one event is one line of JSON on standard output', () => {
  const { stdout, stderr, status } = run('pipe');
  assert.equal(status, 0, stderr);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    lines.map((line) => [line['level'], line['role'], line['event'], line['i'], line['helo']]),
    [
      ['warn', 'worker 1', 'test.event', 0, 'a\n{"level":"error"}'],
      ['warn', 'worker 1', 'test.event', 1, 'a\n{"level":"error"}'],
      ['warn', 'worker 1', 'test.event', 2, 'a\n{"level":"error"}'],
    ],
  );
  assert.ok(!Number.isNaN(Date.parse(lines[0]?.['at'] as string)));
});

test('a full output loses the line, never the caller', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = run(full);
  closeSync(full);
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
});
