/**
 * Generated bodies, cut anywhere and read in both ways (pushed, or read into room()), against the model. The bodies are
 * of the bytes that mean something, so that each case has several candidates for an end or a fault.
 */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { BodyReader } from '../../../src/wire/body.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { count, seed } from '../../kit/tier.ts';
import { bodyOf, type Outcome } from './body-model.ts';

/** Numbers that a seed repeats, from 0 up to `below`. */
function numbers(start: number): (below: number) => number {
  let state = start >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const BYTES = ['\r', '\n', '.', '\0', 'a'];
const TOKENS = [
  '\r\n',
  '\r\n',
  '\r\n.',
  '\r\n.\r',
  '\r\n..',
  '\n.\r\n',
  '\r\n.\n',
  '.',
  'a',
  'aaa',
  '\r',
  '\n',
  '\r\n.\r\n',
];
const LINES = ['a\r\n', '..\r\n', `${'a'.repeat(76)}\r\n`, `${'a'.repeat(62)}\r\n`, '\r\n', '.a\r\n'];
const MAX_LINE = 80;
const MAX_SIZE = 1 << 20;

type Random = (below: number) => number;
const pick = (random: Random, from: readonly string[]): string => from[random(from.length)] as string;
const many = (random: Random, most: number, from: readonly string[]): string =>
  Array.from({ length: random(most + 1) }, () => pick(random, from)).join('');

/** Few bytes without any order; lines with something in one place, so that whole vectors are passed over; tokens. */
function bodyText(random: Random): string {
  const kind = random(4);
  if (kind === 0) return many(random, 12, BYTES);
  if (kind === 1) return many(random, 8, TOKENS);
  const text = many(random, 12, LINES);
  const at = random(text.length + 1);
  if (kind === 2)
    return `${text}${many(random, 1, ['a'.repeat(random(90))])}${many(random, 3, TOKENS)}\r\n.\r\nQUIT\0\n`;
  return `${text.slice(0, at)}${pick(random, [...BYTES, ...TOKENS])}${text.slice(at + random(2))}.\r\n\0`;
}

/** Feeds a body in pieces of random size, each pushed or read into room(); checks at every step what may not be. */
function read(reader: BodyReader, text: string, random: Random, mayRoom: boolean): number {
  const bytes = Buffer.from(text, 'latin1');
  const most = pick(random, ['1', '3', '20', '100', '1000']);
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, 1 + random(Number(most)));
    const room = mayRoom && random(3) > 0 ? reader.room() : undefined;
    let end: number;
    if (room) {
      bytes.copy(room, 0, at, at + length);
      end = reader.filled(length);
      if (end >= 0) assert.ok(room.subarray(end, length).equals(bytes.subarray(at + end, at + length)));
    } else {
      // The chunk is only lent, and does not begin where it is read from.
      const from = random(3);
      const chunk = Buffer.concat([Buffer.from('\n.\r'.slice(3 - from)), bytes.subarray(at, at + length)]);
      end = reader.push(chunk, from);
      chunk.fill(0);
      if (end >= 0) end -= from;
    }
    if (end >= 0) return at + end;
    at += length;
  }
  return -1;
}

function outcomeOf(reader: BodyReader, end: number): Outcome {
  const { fault, receivedBytes, lenientEnd } = reader;
  const kept = fault ? '' : Buffer.concat([...reader.spool.read()]).toString('latin1');
  return { end, fault, kept, receivedBytes, lenientEnd };
}

const limits = { maxLineBytes: MAX_LINE, maxSizeBytes: MAX_SIZE };
const CASES = count(30_000, 2_000_000);

test(`${CASES} bodies cut anywhere are what the model says`, () => {
  const budget = new SpoolBudget(1 << 26);
  for (let i = 0; i < CASES; i++) {
    const random = numbers(seed + 7919 * i);
    const text = bodyText(random);
    const maxSizeBytes = random(4) === 0 ? random(40) : MAX_SIZE;
    const reader = new BodyReader(new SpooledBody(budget, 1 << 26, tmpdir()), { ...limits, maxSizeBytes });
    const end = read(reader, text, random, false);
    const got = outcomeOf(reader, end);
    const want = bodyOf(text, MAX_LINE, maxSizeBytes);
    // Deep comparisons are slow: only to show a difference.
    if (Object.keys(want).some((key) => got[key as keyof Outcome] !== want[key as keyof Outcome]))
      assert.deepEqual(got, want, `${JSON.stringify(text)}, case ${i}`);
    reader.spool.release();
  }
  assert.deepEqual([budget.heldBytes, budget.memoryBytes], [0, 0]);
});

const LARGE_CASES = count(2000, 100_000);
const FIRST_BYTES = 65 * 1024;
const line = (bytes: number): string => `${'a'.repeat(bytes - 2)}\r\n`;

/** Whole lines of so many bytes together, at least 160. */
function lines(bytes: number): Buffer {
  const rest = (bytes % 80) + 80;
  return Buffer.from(line(80).repeat((bytes - rest) / 80) + line(rest >> 1) + line(rest - (rest >> 1)));
}

test(`${LARGE_CASES} bodies that are read into blocks, pushed, or both, over the ends of blocks`, () => {
  const budget = new SpoolBudget(1 << 26);
  for (let i = 0; i < LARGE_CASES; i++) {
    const random = numbers(seed + 104_729 * i);
    const reader = new BodyReader(new SpooledBody(budget, 1 << 26, tmpdir()), limits);
    const before = [lines(FIRST_BYTES)];
    assert.equal(reader.push(before[0] as Buffer, 0), -1);
    // Every second one goes on near the end of its block, or of its room, so that what comes is split by that.
    if (random(2) === 0) {
      const room = reader.room() as Buffer;
      const filler = lines(room.length - random(2) * 32 * 1024 - random(12));
      before.push(filler);
      filler.copy(room);
      assert.equal(reader.filled(filler.length), -1);
    }
    const text = bodyText(random);
    const got = outcomeOf(reader, read(reader, text, random, true));
    const want = bodyOf(text, MAX_LINE, MAX_SIZE);
    const head = Buffer.concat(before).toString('latin1');
    const receivedBytes = want.receivedBytes + head.length;
    // Deep comparisons of large texts are slow, and no one can read them.
    const isKept = want.fault === undefined && got.kept === head + want.kept;
    const kept = isKept || want.fault ? want.kept : got.kept.slice(-500);
    if (JSON.stringify({ ...got, kept: isKept ? kept : got.kept }) !== JSON.stringify({ ...want, receivedBytes }))
      assert.deepEqual({ ...got, kept }, { ...want, receivedBytes }, `${JSON.stringify(text)}, case ${i}`);
    reader.spool.release();
  }
  assert.deepEqual([budget.heldBytes, budget.memoryBytes], [0, 0]);
});
