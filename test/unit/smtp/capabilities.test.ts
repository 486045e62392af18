import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Capabilities, intersect, noCapabilities, parseCapabilities } from '../../../src/smtp/capabilities.ts';

const everything: Capabilities = {
  size: 1000,
  eightBitMime: true,
  smtpUtf8: true,
  dsn: true,
  enhancedStatusCodes: true,
  pipelining: true,
  startTls: true,
  chunking: false,
};

test('keywords are read in any case and order, with what nobody knows beside them', () => {
  const lines = [
    'pipelining',
    'X-UNKNOWN a b',
    'Size 1000',
    'STARTTLS',
    '8bitmime',
    'DSN ',
    'SMTPUTF8',
    'ENHANCEDSTATUSCODES',
    '',
  ];
  assert.deepEqual(parseCapabilities(lines), everything);
  assert.deepEqual(parseCapabilities([]), noCapabilities);
  assert.deepEqual(parseCapabilities(['XDSN', 'PIPELINING-NOT', 'AUTH SIZE']), noCapabilities);
});

test('SIZE with a limit, without one, and with nonsense', () => {
  const sizes: readonly (readonly [string, number])[] = [
    ['SIZE 52428800', 52_428_800],
    ['SIZE=1000', 1000],
    ['SIZE', 0],
    ['SIZE 0', 0],
    ['SIZE lots', 0],
    ['SIZE -1', 0],
    ['SIZE 99999999999999999999', 0],
  ];
  for (const [line, size] of sizes) assert.equal(parseCapabilities([line]).size, size, line);
});

test('an intersection has what both have, and the smaller limit of those that are one', () => {
  assert.deepEqual(intersect(everything, everything), everything);
  assert.deepEqual(intersect(everything, noCapabilities), noCapabilities);
  for (const key of Object.keys(everything) as (keyof Capabilities)[]) {
    const lacking = { ...everything, [key]: noCapabilities[key] };
    assert.deepEqual(intersect(everything, lacking), lacking, key);
    assert.deepEqual(intersect(lacking, everything), lacking, key);
  }
  const withSize = (size: number | undefined): Capabilities => ({ ...everything, size });
  const sizes: readonly (readonly [number | undefined, number | undefined, number | undefined])[] = [
    [10, 20, 10],
    [0, 20, 20],
    [0, 0, 0],
    [undefined, 20, undefined],
    [0, undefined, undefined],
  ];
  for (const [a, b, both] of sizes) {
    assert.equal(intersect(withSize(a), withSize(b)).size, both);
    assert.equal(intersect(withSize(b), withSize(a)).size, both);
  }
});
