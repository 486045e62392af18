import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineSink } from '../../../src/kit/output.ts';

type Done = (error: NodeJS.ErrnoException | null, bytes: number) => void;

/** A descriptor whose reader takes what it is told to take. */
function reader(): {
  write: (fd: number, chunk: Buffer, done: Done) => void;
  taken: () => string;
  take: (bytes?: number) => void;
  fail: (code: string) => void;
} {
  let taken = '';
  let pending: { chunk: Buffer; done: Done } | undefined;
  const answer = (of: (chunk: Buffer) => [NodeJS.ErrnoException | null, number]): void => {
    assert.ok(pending, 'nothing is being written');
    const { chunk, done } = pending;
    pending = undefined;
    done(...of(chunk));
  };
  return {
    write: (_fd, chunk, done) => {
      pending = { chunk, done };
    },
    taken: () => taken,
    take: (bytes) =>
      answer((chunk) => {
        const part = chunk.subarray(0, bytes);
        taken += part.toString();
        return [null, part.length];
      }),
    fail: (code) => answer(() => [Object.assign(new Error(code), { code }), 0]),
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('lines come out whole and in order, also when they are taken in pieces', async () => {
  const end = reader();
  const sink = lineSink(1, 'run', end.write);
  sink.line('one');
  await turn();
  sink.line('two');
  end.take(2);
  sink.block(Buffer.from('three\nfour\n'));
  sink.line('five');
  const flushed = sink.flushed();
  end.take();
  end.take();
  await flushed;
  assert.equal(end.taken(), 'one\ntwo\nthree\nfour\nfive\n');
});

test('one turn of the loop is one write, unless it says more than a pipe takes', async () => {
  const end = reader();
  const chunks: number[] = [];
  const sink = lineSink(1, 'run', (fd, chunk, done) => {
    chunks.push(chunk.length);
    end.write(fd, chunk, done);
    end.take();
  });
  for (let i = 0; i < 100; i++) sink.line('x'.repeat(99));
  assert.deepEqual(chunks, []);
  await turn();
  assert.deepEqual(chunks, [10_000]);
  for (let i = 0; i < 1000; i++) sink.line('x'.repeat(99));
  assert.deepEqual(chunks.slice(1), [65_600]);
  await turn();
  assert.deepEqual(chunks.slice(2), [34_400]);
});

test('a reader that is slow loses lines, counted; never more than 4 MiB waits', async () => {
  const end = reader();
  const sink = lineSink(1, 'run', end.write);
  sink.line('first');
  await turn();
  const line = 'x'.repeat(100_000);
  for (let i = 0; i < 60; i++) sink.line(line);
  sink.block(Buffer.from(`${line}\n${line}\n`));
  end.take();
  end.take();
  // Said as soon as there is room, not only when there is something else to say.
  assert.match(end.taken(), /"lines":21}\n$/);
  sink.line('after');
  await turn();
  end.take();
  const lines = end.taken().split('\n');
  assert.equal(lines.filter((text) => text === line).length, 41);
  assert.deepEqual(lines.slice(-3), ['{"level":"warn","role":"run","event":"output.dropped","lines":21}', 'after', '']);
});

test('a reader that is gone stops nobody, and what it lost is counted', async () => {
  const end = reader();
  const sink = lineSink(1, 'run', end.write);
  sink.line('one');
  const flushed = sink.flushed();
  sink.line('two');
  sink.block(Buffer.from('three\nfour\n'));
  end.fail('EPIPE');
  await flushed;
  assert.equal(end.taken(), '');
  sink.line('five');
  await turn();
  end.take();
  assert.match(end.taken(), /"lines":4}\nfive\n$/);
});

test('a full pipe is tried again', async () => {
  const end = reader();
  let writes = 0;
  const sink = lineSink(1, 'run', (fd, chunk, done) => {
    writes++;
    end.write(fd, chunk, done);
    if (writes === 1) end.fail('EAGAIN');
    else end.take();
  });
  sink.line('one');
  await sink.flushed();
  assert.deepEqual([end.taken(), writes], ['one\n', 2]);
});
