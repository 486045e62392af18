import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { BLOCK_BYTES, BlockPool, blockPool } from '../../../src/wire/blocks.ts';
import { BodyReader } from '../../../src/wire/body.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';

const MIB = 1 << 20;
/** Pieces that can be told from one another. */
const piecesOf = (count: number, bytes: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => Buffer.alloc(bytes + i * 37, i + 1));

/** A body with these pieces; `held` of it is in memory. */
function spool(memoryBytes: number, pieces: readonly Buffer[], budget = new SpoolBudget(64 * MIB)): SpooledBody {
  const body = new SpooledBody(budget, memoryBytes, tmpdir());
  for (const piece of pieces) assert.ok(body.append(piece));
  return body;
}

describe('a spooled body', () => {
  for (const [memoryBytes, count, bytes] of [
    [1000, 50, 100],
    [MIB, 50, 100],
    [MIB, 3, 40_000],
    [MIB, 50, 40_000],
    [8 * MIB, 5, MIB],
    [2 * MIB, 5, MIB],
  ] as const) {
    test(`${count} pieces of ${bytes} octets come back as they were, with ${memoryBytes} octets of memory`, () => {
      const budget = new SpoolBudget(64 * MIB);
      const pieces = piecesOf(count, bytes);
      const body = spool(memoryBytes, pieces, budget);
      const whole = Buffer.concat(pieces);
      // A piece is borrowed for the call.
      for (const piece of pieces) piece.fill(0);
      for (const scratch of [undefined, Buffer.alloc(5000), undefined]) {
        const got: Buffer[] = [];
        for (const piece of body.read(scratch)) {
          assert.ok(piece.length > 0 && piece.length <= BLOCK_BYTES);
          got.push(Buffer.from(piece));
        }
        assert.ok(Buffer.concat(got).equals(whole));
      }
      assert.equal(budget.heldBytes, whole.length);
      assert.equal(body.sizeBytes, whole.length);
      assert.ok(budget.memoryBytes <= memoryBytes, `${budget.memoryBytes} octets in memory`);
      assert.equal(budget.openFiles, body.fileBytes > 0 ? 1 : 0);
      assert.equal(body.fileBytes > 0, whole.length > (memoryBytes * 3) / 4);
      for (let twice = 0; twice < 2; twice++) {
        body.release();
        assert.deepEqual([budget.heldBytes, budget.memoryBytes, budget.openFiles], [0, 0, 0]);
      }
      assert.deepEqual([...body.read()], []);
    });
  }

  test('what was in the file is read into the scratch, and nothing else', () => {
    const body = spool(1000, [Buffer.alloc(900, 'a'), Buffer.alloc(5000, 'b')]);
    const scratch = Buffer.alloc(2000);
    const pieces = [...body.read(scratch)];
    assert.deepEqual(
      pieces.map(({ length }) => length),
      [900, 2000, 2000, 1000],
    );
    assert.deepEqual(
      pieces.map(({ buffer }) => buffer === scratch.buffer),
      [false, true, true, true],
    );
    body.release();
  });

  test('a directory that cannot be written to is told, not thrown', () => {
    const body = new SpooledBody(new SpoolBudget(1 << 20), 1, '/nonexistent');
    assert.equal(body.append(Buffer.from('xx')), false);
  });

  test('a small body takes no block; 10,000 of 4 KB hold 41 MB', () => {
    const budget = new SpoolBudget(64 * MIB);
    const bodies = Array.from({ length: 10_000 }, () => spool(64 * MIB, [Buffer.alloc(4096, 'x')], budget));
    assert.equal(budget.memoryBytes, 10_000 * 4096);
    assert.ok(bodies.every((body) => body.openBlock() === undefined && body.fileBytes === 0));
    for (const body of bodies) body.release();
  });

  test('all bodies together hold in memory what they may, and beside large ones there is room for small ones', () => {
    const budget = new SpoolBudget(64 * MIB);
    const large = Array.from({ length: 10 }, () => spool(4 * MIB, piecesOf(1, MIB), budget));
    assert.equal(budget.memoryBytes, 3 * MIB, 'three quarters of it');
    assert.ok(large.every((body) => body.openBlock() === undefined || body.fileBytes === 0));
    const small = spool(4 * MIB, piecesOf(1, 60_000), budget);
    assert.equal(small.fileBytes, 0);
    for (const body of [...large, small]) body.release();
    assert.equal(budget.memoryBytes, 0);
    const next = spool(4 * MIB, piecesOf(1, MIB), budget);
    assert.equal(next.fileBytes, 0, 'what was given back is there for the next');
    next.release();
  });

  test('once it is in a file it goes on there, also when memory is given back meanwhile', () => {
    const budget = new SpoolBudget(64 * MIB);
    const other = spool(2 * MIB, piecesOf(1, MIB), budget);
    const pieces = piecesOf(6, 200_000);
    const body = spool(2 * MIB, pieces.slice(0, 4), budget);
    assert.ok(body.fileBytes > 0);
    other.release();
    assert.ok(body.openBlock() === undefined);
    for (const piece of pieces.slice(4)) assert.ok(body.append(piece));
    assert.ok(Buffer.concat([...body.read()]).equals(Buffer.concat(pieces)));
    body.release();
  });

  test('the budget bounds what is read into blocks, too', () => {
    const body = spool(MIB, [Buffer.alloc(100_000)], new SpoolBudget(150_000));
    assert.ok(body.openBlock());
    assert.ok(body.commit(50_000));
    assert.equal(body.commit(1), false);
    assert.throws(() => body.commit(BLOCK_BYTES), RangeError);
    body.release();
  });
});

describe('room() of a body', () => {
  const reader = (budget = new SpoolBudget(64 * MIB), memoryBytes = 64 * MIB): BodyReader =>
    new BodyReader(new SpooledBody(budget, memoryBytes, tmpdir()), { maxLineBytes: 1000, maxSizeBytes: 64 * MIB });
  const line = Buffer.from(`${'x'.repeat(98)}\r\n`);
  const large = Buffer.alloc(70_000, line);

  test('there is none while the body is small, after a fault, or without memory', () => {
    const small = reader();
    assert.equal(small.room(), undefined);
    small.push(large.subarray(0, 60_000), 0);
    assert.equal(small.room(), undefined);
    small.push(large.subarray(0, 10_000), 0);
    assert.ok((small.room()?.length ?? 0) >= 32 * 1024);
    small.push(Buffer.from('\n'), 0);
    assert.equal(small.fault, 'line-end');
    assert.equal(small.room(), undefined);

    const poor = reader(new SpoolBudget(MIB), 300_000);
    poor.push(large, 0);
    assert.equal(poor.room(), undefined);
    poor.spool.release();
  });

  test('what is read there is kept there: nothing is copied', () => {
    const body = reader();
    body.push(large, 0);
    const place = new Set<ArrayBufferLike>();
    for (let i = 0; i < 40; i++) {
      const room = body.room() as Buffer;
      large.copy(room, 0, 0, 30_000);
      assert.equal(body.filled(30_000), -1);
      place.add(room.buffer);
    }
    const pieces = [...body.spool.read()];
    assert.equal(Buffer.concat(pieces).length, 1_270_000);
    assert.ok(pieces.slice(1).every(({ buffer }) => place.has(buffer)));
    body.spool.release();
  });

  test('what stands behind the terminator can be copied out, also after a fault', () => {
    for (const [text, fault] of [
      ['.\r\nQUIT\r\n', undefined],
      ['a\0\r\n.\r\nQUIT\r\n', 'nul'],
    ] as const) {
      const body = reader();
      body.push(large, 0);
      const room = body.room() as Buffer;
      const bytes = room.write(text, 'latin1');
      const end = body.filled(bytes);
      assert.equal(room.toString('latin1', end, bytes), 'QUIT\r\n');
      assert.equal(body.fault, fault);
      body.spool.release();
    }
  });

  test('filled() is for the room() before it, and for no more than it has', () => {
    const body = reader();
    body.push(large, 0);
    assert.throws(() => body.filled(1), /without room/);
    const room = body.room() as Buffer;
    assert.throws(() => body.filled(room.length + 1), RangeError);
    body.room();
    body.push(line, 0);
    assert.throws(() => body.filled(1), /without room/);
    body.spool.release();
  });

  test('the budget is a fault that gives everything back', () => {
    const budget = new SpoolBudget(80_000);
    const body = reader(budget);
    body.push(large, 0);
    const room = body.room() as Buffer;
    large.copy(room);
    assert.equal(body.filled(large.length), -1);
    assert.equal(body.fault, 'memory');
    assert.deepEqual([budget.heldBytes, budget.memoryBytes], [0, 0]);
  });
});

describe('blocks', () => {
  test('no two are in one place, and what is given back is taken again', () => {
    const pool = new BlockPool();
    const blocks = Array.from({ length: 40 }, () => pool.take());
    for (const [i, block] of blocks.entries()) block?.bytes.fill(i + 1);
    for (const [i, block] of blocks.entries()) assert.ok(block?.bytes.every((byte) => byte === i + 1));
    const { sizeBytes } = pool;
    assert.ok(sizeBytes <= 12 * MIB, `${sizeBytes} octets`);
    for (const block of blocks) if (block) pool.give(block);
    for (let i = 0; i < 40; i++) assert.ok(pool.take());
    assert.equal(pool.sizeBytes, sizeBytes);
  });

  test('slabs that nobody used between two sweeps are let go', () => {
    const pool = new BlockPool();
    const blocks = Array.from({ length: 40 }, () => pool.take());
    for (const block of blocks.slice(1)) if (block) pool.give(block);
    pool.sweep();
    assert.equal(pool.sizeBytes, 12 * MIB, 'they may be wanted at once');
    pool.sweep();
    assert.equal(pool.sizeBytes, 4 * MIB, 'one block is still in use');
    if (blocks[0]) pool.give(blocks[0]);
    pool.sweep();
    pool.give(pool.take() ?? assert.fail());
    pool.sweep();
    assert.equal(pool.sizeBytes, 4 * MIB, 'it was used meanwhile');
    pool.sweep();
    assert.equal(pool.sizeBytes, 0);
  });

  test('the bodies of this file have given all back', () => {
    const { sizeBytes } = blockPool;
    for (let i = 0; i < 2; i++) blockPool.sweep();
    assert.deepEqual([sizeBytes > 0, blockPool.sizeBytes], [true, 0]);
  });
});
