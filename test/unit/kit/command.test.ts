import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandError, mustRun, runCommand } from '../../../src/kit/command.ts';

test('input goes in, output and status come out', async () => {
  const ran = await runCommand('sh', ['-c', 'tr a-z A-Z; echo wrong >&2; exit 3'], { input: 'hello' });
  assert.deepEqual(ran, { code: 3, stdout: 'HELLO', stderr: 'wrong\n' });
});

test('a program that does not read its input is judged by its status', async () => {
  assert.equal((await runCommand('true', [], { input: 'x'.repeat(1_000_000) })).code, 0);
});

test('a program that is too slow is killed, and it says so', async () => {
  const started = performance.now();
  await assert.rejects(runCommand('sleep', ['60'], { deadlineMs: 50 }), /sleep: not done after 50 ms/);
  assert.ok(performance.now() - started < 50_000);
});

test('a program that prints without end is killed', async () => {
  await assert.rejects(runCommand('cat', ['/dev/zero'], { deadlineMs: 60_000 }), /cat: printed more than \d+ bytes/);
});

test('a program that is not there, or is ended by a signal, has no status', async () => {
  await assert.rejects(runCommand('postern-no-such-program', []), CommandError);
  await assert.rejects(runCommand('sh', ['-c', 'kill -9 $$']), /sh: ended by SIGKILL/);
});

test('mustRun says what the program said', async () => {
  assert.equal(await mustRun('echo', ['yes']), 'yes\n');
  await assert.rejects(mustRun('sh', ['-c', 'echo because >&2; exit 1']), /sh .*: ended with 1: because/);
});
