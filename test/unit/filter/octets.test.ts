/** The octets of a message without the dots that SMTP has put before dots, whole and in pieces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unstuff, unstuffed } from '../../../src/filter/octets.ts';
import { randomFrom } from '../../kit/random.ts';
import { count, seed } from '../../kit/tier.ts';

function* cutAt(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test('a dot of SMTP is left out wherever a piece ends', () => {
  const stuffed = Buffer.from('..\r\n..x\r\ny.\r\n...\r\n\r\n..z');
  for (let size = 1; size <= stuffed.length; size++) {
    const pieces = Array.from({ length: Math.ceil(stuffed.length / size) }, (_, i) =>
      stuffed.subarray(i * size, (i + 1) * size),
    );
    assert.equal(
      Buffer.concat([...unstuffed(pieces)]).toString(),
      '.\r\n.x\r\ny.\r\n..\r\n\r\n.z',
      `pieces of ${size}`,
    );
  }
});

test('any text comes out as line by line, in pieces and whole', () => {
  const random = randomFrom(seed);
  const line = (): string =>
    '.'.repeat(random.below(4)) + 'x'.repeat(random.oneIn(4) ? random.below(600) : random.below(5));
  for (let i = 0; i < count(2000, 50_000); i++) {
    const lines = Array.from({ length: random.below(30) }, line);
    const stuffed = Buffer.from(lines.map((one) => (one.startsWith('.') ? `.${one}` : one)).join('\r\n'));
    const pieces = [...cutAt(stuffed, 1 + random.below(stuffed.length + 1))];
    assert.equal(Buffer.concat([...unstuffed(pieces)]).toString(), lines.join('\r\n'), `seed ${seed}`);
    assert.equal(unstuff(stuffed).toString(), lines.join('\r\n'), `seed ${seed}`);
  }
});

test('lines that are all dots cost no more than a few times what others do', () => {
  const cpuMs = (text: string): number => {
    const bytes = Buffer.alloc(1 << 22, text);
    // The least of several: the machine may be at something else.
    const all = Array.from({ length: 9 }, () => {
      const before = process.threadCpuUsage();
      for (const part of unstuffed([bytes])) assert.ok(part.length > 0);
      const { user, system } = process.threadCpuUsage(before);
      return (user + system) / 1000;
    });
    return Math.min(...all);
  };
  const [dots, stuffed] = [cpuMs('..\r\n'), cpuMs(`..${'x'.repeat(70)}\r\n`)];
  // With a search for each dot it is thirty times as much.
  assert.ok(dots < 8 * stuffed, `${dots} and ${stuffed} ms for 4 MiB`);
});
