import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { logLine, safeJson, timeText } from '../../../src/kit/log.ts';
import { runPaths } from '../../../src/kit/run-dir.ts';
import { askKeeper } from '../../../src/ledger/ask.ts';
import { makePlace } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';

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

test('a time is spelt as Date spells it, whatever was spelt before', () => {
  const moments = [0, 1, 999, 1000, 1_700_000_000_123, 1_700_000_000_007, 1_700_000_001_000, -1, -62_135_596_800_000];
  for (const ms of [...moments, ...moments.toReversed(), 8_640_000_000_000_000])
    assert.equal(timeText(ms), new Date(ms).toISOString());
});

test('a line is an object with who says what and when, with fields and without', () => {
  const { at, ...line } = JSON.parse(logLine('keeper', 'info', 'a.b', { n: 1, gone: undefined })) as { at: string };
  assert.deepEqual(line, { level: 'info', role: 'keeper', event: 'a.b', n: 1 });
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
  assert.deepEqual(Object.keys(JSON.parse(logLine('a "b"', 'warn', 'x', { gone: undefined })) as object), [
    'at',
    'level',
    'role',
    'event',
  ]);
});

const head = `
  import { logFlushed, stdoutLog } from ${JSON.stringify(join(import.meta.dirname, '../../../src/kit/log.ts'))};
  const log = stdoutLog('worker 1', ['attempt']);
`;
const script = `${head}
  for (let i = 0; i < 3; i++) log.write('warn', 'test.event', { i, helo: 'a\\n{"level":"error"}' });
`;
const run = (stdout: number | 'pipe', text = script) =>
  spawnSync(process.execPath, ['--input-type=module', '-e', text], {
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
    timeout: 120_000,
  });

test('one event is one line of JSON on standard output', () => {
  const { stdout, stderr, status } = run('pipe');
  assert.equal(status, 0, stderr);
  const lines = linesOf(stdout);
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

test('an error that nobody caught, or an exit at once, loses no line', () => {
  for (const end of ["throw new Error('ours')", 'process.exit(1)']) {
    const { stdout, status } = run(
      'pipe',
      `${head} for (let i = 0; i < 50; i++) log.write('info', 'last', { i }); ${end};`,
    );
    assert.equal(status, 1);
    assert.deepEqual(
      linesOf(stdout).map(({ i }) => i),
      Array.from({ length: 50 }, (_, i) => i),
    );
  }
});

test('of one event 100 lines a second come out, and how many were left out; of one that counts, all', () => {
  const flood = `${head}
    for (let i = 0; i < 1000; i++) { log.write('warn', 'upstream-failed', { i }); log.write('info', 'attempt'); }
    log.write('info', 'other');
    await logFlushed(5000);
    process.exit(0);`;
  const lines = linesOf(run('pipe', flood).stdout);
  const of = (event: string) => lines.filter((line) => line['event'] === event);
  assert.deepEqual([of('attempt').length, of('other').length], [1000, 1]);
  // A machine that is busy may need more than one second for them.
  const [shown, repeated] = [of('upstream-failed').length, of('log.repeated')];
  assert.ok(shown >= 100 && shown <= 100 * (repeated.length + 1) && shown < 1000, `${shown} were shown`);
  assert.ok(repeated.every(({ level, of: what }) => level === 'warn' && what === 'upstream-failed'));
  assert.equal(
    repeated.reduce((sum, { lines: count }) => sum + Number(count), shown),
    1000,
  );
});

test('in the next second an event is told of again', () => {
  const flood = `${head}
    for (let i = 0; i < 101; i++) log.write('warn', 'fault');
    setTimeout(() => log.write('warn', 'fault', { later: true }), 1100);`;
  const lines = linesOf(run('pipe', flood).stdout);
  assert.deepEqual([lines.length, lines[100]?.['event'], lines[101]?.['later']], [102, 'log.repeated', true]);
});

test('a pipe that nobody reads holds up neither the loop nor the end', async (t) => {
  const pipe = fullPipe(t);
  const busy = `${head}
    const began = performance.now();
    for (let i = 0; i < 5000; i++) log.write('info', 'attempt', { pad: 'x'.repeat(900) });
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.stderr.write(String(performance.now() - began));
    await logFlushed(500);
    process.exit(7);`;
  const { status, signal, stderr } = run(pipe.writer, busy);
  assert.deepEqual([status, signal], [7, null], stderr);
  assert.ok(Number(stderr) < 60_000, stderr);
});

test('before its end a process waits for a reader who comes late, but not for ever', async (t) => {
  const pipe = fullPipe(t);
  const late = `${head}
    log.write('info', 'last');
    setTimeout(() => process.stderr.write('full'), 50);
    await logFlushed(20_000);
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', late], {
    stdio: ['ignore', pipe.writer, 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  assert.ok(child.stderr);
  await once(child.stderr, 'data');
  pipe.drain();
  assert.deepEqual(await exit, [0, null]);
  assert.match(pipe.drain(), /"event":"last"\}\n$/);
});

test('a role whose output is full serves, and ends when it is told to; with room, its last line comes out', async (t) => {
  const place = makePlace(20_000 + (process.pid % 10_000));
  t.after(() => place.remove());
  for (const isRead of [false, true]) {
    const pipe = fullPipe(t);
    const main = join(import.meta.dirname, '../../../src/main.ts');
    const child = spawn(process.execPath, [main, 'keeper', '--config', place.configPath], {
      stdio: ['ignore', pipe.writer, 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    await until(() => catchesHangup(child.pid ?? 0), 'the signal handlers of the keeper');
    // Its loop turns.
    await askKeeper(runPaths(place.runDir).keeperSocket, { of: 'status' });
    if (isRead) pipe.drain();
    const began = performance.now();
    child.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
    assert.ok(performance.now() - began < 60_000);
    if (isRead) assert.match(pipe.drain(), /"event":"keeper\.stopped"\}\n$/);
  }
});

/** Bit 0 of the caught signals: the role has set up all of its handlers, this one before SIGTERM's. */
function catchesHangup(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0';
  return (BigInt(`0x${caught}`) & 1n) === 1n;
}

function linesOf(stdout: string): Record<string, unknown>[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** A FIFO with no room left; its writer's end is a blocking one. */
function fullPipe(t: TestContext): { readonly writer: number; readonly drain: () => string } {
  const dir = mkdtempSync(join(tmpdir(), 'pipe-'));
  const path = join(dir, 'fifo');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  t.after(() => {
    closeSync(reader);
    closeSync(writer);
    rmSync(dir, { recursive: true });
  });
  const room = Buffer.alloc(4096, 'x');
  for (;;) {
    try {
      writeSync(reader, room);
    } catch {
      break;
    }
  }
  return {
    writer,
    drain() {
      let text = '';
      const bytes = Buffer.alloc(65_536);
      for (;;) {
        try {
          text += bytes.toString('latin1', 0, readSync(reader, bytes));
        } catch {
          return text;
        }
      }
    },
  };
}
