import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Descriptors } from '../../../src/intercept/descriptors.ts';

/** As counted when it is made; `open` is what a test opens in addition. */
function made(limit: number): { readonly of: Descriptors; open: number; readonly base: number } {
  const base = readdirSync('/proc/self/fd').length;
  const counted = { open: 0, base };
  return Object.assign(counted, { of: new Descriptors(() => counted.open, limit) });
}

test('full from 80 % on, what was open at the start included', () => {
  const counted = made(1000);
  counted.open = 799 - counted.base;
  assert.equal(counted.of.isFull, false);
  counted.open++;
  assert.equal(counted.of.isFull, true);
});

test('pressure from the configured share on', () => {
  const counted = made(1000);
  counted.open = 599 - counted.base;
  assert.equal(counted.of.isPressed(60), false);
  counted.open++;
  assert.equal(counted.of.isPressed(60), true);
  assert.equal(counted.of.isPressed(80), false);
  assert.equal(counted.of.isPressed(10), true);
});

test('the limit is that of the process', () => {
  const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  const { limit } = new Descriptors(() => 0);
  assert.equal(limit, Number(soft));
  assert.ok(limit >= 256);
});
