import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { eachBlock, eachLine } from '../../../src/roles/lines.ts';

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

test('to be passed on: the same bytes in any segments, in whole lines; the last is given its end', async () => {
  const bytes = Buffer.from('{"a":1}\n\nü\nlast');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const stream = new PassThrough();
    const blocks: string[] = [];
    eachBlock(stream, (lines) => blocks.push(lines.toString()));
    stream.write(bytes.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    stream.end(bytes.subarray(cut));
    await new Promise((resolve) => stream.once('end', resolve));
    assert.equal(blocks.join(''), '{"a":1}\n\nü\nlast\n', `cut at ${cut}`);
    for (const block of blocks) assert.match(block, /\n$/, `cut at ${cut}`);
  }
});

test('to be passed on: a line without end comes in pieces, each a line', async () => {
  const stream = new PassThrough();
  const blocks: Buffer[] = [];
  eachBlock(stream, (lines) => blocks.push(lines));
  for (let i = 0; i < 32; i++) stream.write(Buffer.alloc(64 * 1024, 'x'));
  stream.end();
  await new Promise((resolve) => stream.once('end', resolve));
  assert.ok(blocks.length >= 5, `${blocks.length} pieces`);
  for (const block of blocks) assert.equal(block.indexOf(0x0a), block.length - 1);
  assert.equal(
    blocks.reduce((sum, block) => sum + block.length - 1, 0),
    2 * 1024 * 1024,
  );
});
