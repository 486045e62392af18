import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Threads } from '../../../src/kit/threads.ts';

const entry = new URL('tasks.thread.ts', import.meta.url);
const forever = new AbortController().signal;
const pool = (most: number) => new Threads({ entry, name: 'test', most, heapMiB: 32 });
const give = (value: unknown) => () => ({ value });

test('does what is asked, one job to a thread, the others in order', async () => {
  const threads = pool(2);
  const answers = [1, 2, 3, 4, 5].map((n) => threads.run('double', give(n), forever));
  assert.equal(threads.busy, 2);
  assert.equal(threads.waiting, 3);
  assert.deepEqual(await Promise.all(answers), [2, 4, 6, 8, 10]);
  await threads.close();
});

test('what fails, dies or needs too much memory is that job alone', async () => {
  const threads = pool(1);
  const asked = ['fails', 'grows', 'ends', 'missing'].map((task) => threads.run(task, give(0), forever));
  const after = threads.run('double', give(21), forever);
  const ends = await Promise.allSettled(asked);
  const reasons = ends.map((end) => (end.status === 'rejected' ? String(end.reason) : 'done'));
  assert.equal(reasons[0], 'Error: planted');
  assert.match(reasons[1] ?? '', /memory/);
  assert.match(reasons[2] ?? '', /ended/);
  assert.match(reasons[3] ?? '', /not a function/);
  assert.equal(await after, 42);
  await threads.close();
});

test('a job whose time is over is ended wherever it is, and another thread takes the next', async () => {
  const threads = pool(1);
  const waitsForEver = threads.run('spins', give(0), AbortSignal.timeout(300));
  const waitsInLine = threads.run('double', give(1), AbortSignal.timeout(50));
  const next = threads.run('double', give(2), forever);
  await assert.rejects(waitsInLine, /time is over/);
  await assert.rejects(waitsForEver, /time is over/);
  assert.equal(await next, 4);
  await assert.rejects(threads.run('double', give(1), AbortSignal.abort()), /time is over/);
  await threads.close();
});

test('what waits holds no copy, and a buffer is handed over', async () => {
  const threads = pool(1);
  let prepared = 0;
  const buffer = new Uint8Array(1000);
  const ask = () =>
    threads.run(
      'length',
      () => {
        prepared++;
        return Promise.resolve({ value: buffer, transfer: [buffer.buffer] });
      },
      forever,
    );
  const first = ask();
  const failing = threads.run('double', () => Promise.reject(new Error('no input')), forever);
  assert.equal(prepared, 1);
  assert.equal(await first, 1000);
  assert.equal(buffer.length, 0);
  await assert.rejects(failing, /no input/);
  await threads.close();
});

test('a pool that is closed rejects what runs and what waits', async () => {
  const threads = pool(1);
  const asked = [threads.run('spins', give(0), forever), threads.run('double', give(0), forever)];
  const ends = Promise.allSettled(asked);
  await new Promise(setImmediate);
  await threads.close();
  assert.deepEqual(
    (await ends).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
});
