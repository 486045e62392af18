import assert from 'node:assert/strict';
import type { write } from 'node:fs';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { eachLine, lineSink } from '../../../src/roles/lines.ts';

type Done = (error: NodeJS.ErrnoException | null, bytes: number) => void;

/** A descriptor whose reader takes what it is told to take. */
function reader(): {
  write: typeof write;
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
    write: ((_fd: number, chunk: Buffer, _at: number, _length: number, _position: null, done: Done) => {
      pending = { chunk, done };
    }) as unknown as typeof write,
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

test('lines come out whole and in order, also when they are taken in pieces', async () => {
  const end = reader();
  const sink = lineSink(1, end.write);
  sink.line('one');
  sink.line('two');
  end.take(2);
  sink.line(Buffer.from('three'));
  const flushed = sink.flushed();
  end.take();
  end.take();
  await flushed;
  assert.equal(end.taken(), 'one\ntwo\nthree\n');
});

test('a reader that is slow loses lines, counted; never more than 1 MiB waits', () => {
  const end = reader();
  const sink = lineSink(1, end.write);
  sink.line('first');
  const line = 'x'.repeat(100_000);
  for (let i = 0; i < 30; i++) sink.line(line);
  end.take();
  end.take();
  sink.line('after');
  end.take();
  const lines = end.taken().split('\n');
  assert.equal(lines.filter((text) => text === line).length, 10);
  assert.deepEqual(lines.slice(-3), ['{"level":"warn","role":"run","event":"output.dropped","lines":20}', 'after', '']);
});

test('a reader that is gone stops nobody', async () => {
  const end = reader();
  const sink = lineSink(1, end.write);
  sink.line('one');
  const flushed = sink.flushed();
  end.fail('EPIPE');
  await flushed;
  sink.line('two');
  end.fail('EPIPE');
  await sink.flushed();
  assert.equal(end.taken(), '');
});

test('a full pipe is tried again', async () => {
  const end = reader();
  let writes = 0;
  const sink = lineSink(1, ((...args: Parameters<typeof end.write>) => {
    writes++;
    (end.write as (...args: unknown[]) => void)(...args);
    if (writes === 1) end.fail('EAGAIN');
    else end.take();
  }) as unknown as typeof write);
  sink.line('one');
  await sink.flushed();
  assert.deepEqual([end.taken(), writes], ['one\n', 2]);
});

test('the same bytes in any segments are the same lines; the last needs no end', async () => {
  const bytes = Buffer.from('{"a":1}\n\nü\nlast');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const stream = new PassThrough();
    const lines: string[] = [];
    eachLine(stream, (line) => lines.push(line.toString()));
    stream.write(bytes.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    stream.end(bytes.subarray(cut));
    await new Promise((resolve) => stream.once('end', resolve));
    assert.deepEqual(lines, ['{"a":1}', '', 'ü', 'last'], `cut at ${cut}`);
  }
});

test('a line without end is passed on in pieces instead of being held', async () => {
  const stream = new PassThrough();
  let pieces = 0;
  let bytes = 0;
  eachLine(stream, (line) => {
    pieces++;
    bytes += line.length;
  });
  for (let i = 0; i < 32; i++) stream.write(Buffer.alloc(64 * 1024, 'x'));
  stream.end();
  await new Promise((resolve) => stream.once('end', resolve));
  assert.equal(bytes, 2 * 1024 * 1024);
  assert.ok(pieces >= 5, `${pieces} pieces`);
});
