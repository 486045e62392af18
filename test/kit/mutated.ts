/**
 * Good input with a few octets changed, and whoever reads it: it may refuse what it is given, and it may not throw, nor take
 * long. With full numbers each reader is given such input for minutes, an hour in all.
 */
import assert from 'node:assert/strict';
import { within } from './pace.ts';
import { type Random, randomFrom } from './random.ts';
import { isLong, seed } from './tier.ts';

const MAX_MS = 1000;

/** A few octets changed, and sometimes a piece left out, repeated, or put elsewhere. */
export function mutated(good: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(good);
  for (let changes = 1 + random.below(6); changes > 0 && bytes.length > 0; changes--) {
    const at = random.below(bytes.length);
    const to = Math.min(bytes.length, at + random.below(40));
    const kind = random.below(6);
    if (kind < 2) bytes[at] = random.below(256);
    else if (kind === 2) bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, 10, 34, 45, 61]);
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    else if (kind === 4) bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    else bytes.copy(bytes, random.below(bytes.length), at, to);
  }
  return bytes;
}

/** So many cases in `npm test`, and with full numbers as many as go into so many minutes. */
export type Rounds = { readonly cases: number; readonly minutes: number };

/** Says how many there were. */
export async function survives(
  say: (message: string) => void,
  good: readonly Buffer[],
  { cases, minutes }: Rounds,
  look: (bytes: Buffer, random: Random) => void | Promise<void>,
): Promise<void> {
  const random = randomFrom(seed);
  const endMs = performance.now() + minutes * 60_000;
  let count = 0;
  let longestMs = 0;
  for (; isLong ? performance.now() < endMs : count < cases; count++) {
    const bytes = mutated(random.pick(good), random);
    const before = process.cpuUsage();
    try {
      await look(bytes, random);
    } catch (error) {
      throw new Error(`case ${count} of seed ${seed}, ${bytes.toString('base64')}`, { cause: error });
    }
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1000;
    longestMs = Math.max(longestMs, tookMs);
    assert.ok(
      within(tookMs, MAX_MS),
      `${tookMs} ms of CPU, case ${count} of seed ${seed}, ${bytes.toString('base64')}`,
    );
  }
  say(`${count} cases of seed ${seed}, the longest took ${longestMs.toFixed(1)} ms of CPU`);
}
