/** Addresses against two implementations that are not ours: the URL parser's spelling and node:net's BlockList. */
import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  canonical,
  contains,
  isPrivate,
  overlaps,
  parseAddress,
  parsePrefix,
  sourceOf,
} from '../../../src/kit/address.ts';
import { seed } from '../../kit/tier.ts';

const run = { seed, numRuns: 500 };
// Few different groups, so that runs of zeros and equal prefixes come up.
const group = fc.oneof(
  fc.constantFrom('0', '1', 'db8', 'ffff'),
  fc.nat(0xffff).map((n) => n.toString(16)),
);
const ipv6 = fc.oneof(
  fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.join(':')),
  fc.ipV6().filter((text) => isIP(text) === 6),
);
const ipv4 = fc
  .array(fc.oneof(fc.constantFrom(0, 10, 127, 192, 255), fc.nat(255)), { minLength: 4, maxLength: 4 })
  .map((a) => a.join('.'));

function isMapped(text: string): boolean {
  const value = new URL(`http://[${text}]/`).hostname;
  return value.startsWith('[::ffff:');
}

test('IPv6 has the spelling of RFC 5952', () => {
  fc.assert(
    fc.property(ipv6, (text) => {
      fc.pre(!isMapped(text));
      assert.equal(`[${canonical(text)}]`, new URL(`http://[${text}]/`).hostname);
    }),
    run,
  );
  for (const [text, spelled] of [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const) {
    assert.equal(canonical(text), spelled);
  }
});

test('a spelling is read back as the address it was made from, and spelled the same', () => {
  fc.assert(
    fc.property(fc.oneof(ipv4, ipv6), (text) => {
      const spelled = canonical(text) as string;
      assert.deepEqual(parseAddress(spelled), parseAddress(text));
      assert.equal(canonical(spelled), spelled);
    }),
    run,
  );
});

test('an IPv4-mapped address is the IPv4 address, in every spelling', () => {
  fc.assert(
    fc.property(ipv4, (text) => {
      const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
      const hex = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
      for (const spelling of [`::ffff:${text}`, `0:0:0:0:0:FFFF:${text}`, hex]) assert.equal(canonical(spelling), text);
    }),
    run,
  );
  assert.equal(canonical('::192.0.2.1'), '::c000:201', 'the obsolete IPv4-compatible form is IPv6');
});

test('what is no address is none', () => {
  for (const text of [
    '',
    'localhost',
    '192.0.2',
    '192.0.2.256',
    '192.0.02.1',
    ' 192.0.2.1',
    '2001:db8::1::2',
    'fe80::1%lan0',
    '[::1]',
    '1:2:3:4:5:6:7',
    '::g',
  ]) {
    assert.equal(parseAddress(text), undefined, text);
    assert.equal(canonical(text), undefined, text);
    assert.equal(parsePrefix(text), undefined, text);
  }
});

test('a prefix is spelled with its length; an address alone is its /32 or /128', () => {
  for (const [text, spelled] of [
    ['192.0.2.0/24', '192.0.2.0/24'],
    ['192.0.2.1', '192.0.2.1/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8::/32', '2001:db8::/32'],
    ['2001:db8::1', '2001:db8::1/128'],
    ['::/0', '::/0'],
    ['::ffff:192.0.2.0/120', '192.0.2.0/24'],
    ['::ffff:192.0.2.1', '192.0.2.1/32'],
  ] as const) {
    assert.equal(parsePrefix(text)?.text, spelled);
  }
});

test('a prefix with host bits, or with a length that is none, is refused', () => {
  for (const text of [
    '192.0.2.1/24',
    '192.0.2.0/33',
    '2001:db8::1/64',
    '2001:db8::/129',
    '192.0.2.0/',
    '192.0.2.0/024',
    '192.0.2.0/-1',
    '192.0.2.0/24/24',
    '/24',
    '::ffff:192.0.2.0/24',
    '::ffff:0.0.0.0/24',
    '::ffff:192.0.2.0/129',
    '192.0.2.0/2e1',
  ]) {
    assert.equal(parsePrefix(text), undefined, text);
  }
});

/** A prefix around an address, host bits cleared by BigInt arithmetic of the test's own. */
const prefixAround = (family: 4 | 6, text: string, length: number): string => {
  const address = parseAddress(text);
  assert.equal(address?.family, family);
  const bits = family === 4 ? 32n : 128n;
  const low = (1n << (bits - BigInt(length))) - 1n;
  const base = (address as { value: bigint }).value & ~low;
  const hex = base.toString(16).padStart(32, '0');
  const spelled =
    family === 4
      ? [24n, 16n, 8n, 0n].map((s) => (base >> s) & 255n).join('.')
      : (hex.match(/.{4}/g) as string[]).join(':');
  return `${spelled}/${length}`;
};

const pair = fc
  .oneof(
    fc.record({ family: fc.constant(4 as const), a: ipv4, b: ipv4, length: fc.nat(32), other: fc.nat(32) }),
    fc.record({ family: fc.constant(6 as const), a: ipv6, b: ipv6, length: fc.nat(128), other: fc.nat(128) }),
  )
  .filter(({ family, a, b }) => family === 4 || !(isMapped(a) || isMapped(b)));

test('contains says what BlockList says', () => {
  let inside = 0;
  fc.assert(
    fc.property(pair, ({ family, a, b, length }) => {
      const text = prefixAround(family, a, length);
      const prefix = parsePrefix(text);
      assert.ok(prefix, text);
      const list = new BlockList();
      list.addSubnet(a, length, family === 4 ? 'ipv4' : 'ipv6');
      for (const address of [a, b]) {
        const parsed = parseAddress(address) as { family: 4 | 6; value: bigint };
        const expected = list.check(address, family === 4 ? 'ipv4' : 'ipv6');
        if (expected) inside++;
        assert.equal(contains(prefix, parsed), expected, `${text} ${address}`);
      }
    }),
    run,
  );
  assert.ok(inside >= 500, 'each prefix holds the address it is around');
});

test('two prefixes overlap exactly when one holds the first address of the other; never across families', () => {
  fc.assert(
    fc.property(pair, ({ family, a, b, length, other }) => {
      const [p, q] = [parsePrefix(prefixAround(family, a, length)), parsePrefix(prefixAround(family, b, other))];
      assert.ok(p && q);
      const expected = contains(p, { family, value: q.base }) || contains(q, { family, value: p.base });
      assert.equal(overlaps(p, q), expected);
      assert.equal(overlaps(q, p), expected);
      assert.ok(overlaps(p, p));
    }),
    run,
  );
  const all4 = parsePrefix('0.0.0.0/0');
  const all6 = parsePrefix('::/0');
  assert.ok(all4 && all6);
  assert.equal(overlaps(all4, all6), false);
});

test('a source is an IPv4 address, or the /64 of an IPv6 address', () => {
  assert.equal(sourceOf('192.0.2.1'), '192.0.2.1');
  assert.equal(sourceOf('::ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(sourceOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(sourceOf('::1'), '::/64');
  assert.equal(sourceOf('no address'), 'no address');
  fc.assert(
    fc.property(ipv6, ipv6, (a, b) => {
      fc.pre(!isMapped(a) && !isMapped(b));
      const high = (text: string): bigint => (parseAddress(text) as { value: bigint }).value >> 64n;
      assert.equal(sourceOf(a) === sourceOf(b), high(a) === high(b));
      const prefix = parsePrefix(sourceOf(a));
      assert.equal(prefix?.length, 64);
    }),
    run,
  );
});

test('private is loopback, RFC 1918, link-local and unique local; nothing beside', () => {
  for (const text of [
    '127.0.0.1',
    '127.255.255.255',
    '10.0.0.0',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '169.254.1.1',
    '::1',
    'fd00::1',
    'fe80::1',
    '::ffff:10.0.0.1',
  ]) {
    assert.equal(isPrivate(text), true, text);
  }
  for (const text of [
    '126.255.255.255',
    '128.0.0.0',
    '11.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.169.0.0',
    '0.0.0.0',
    '::',
    '::2',
    'fec0::1',
    '2001:db8::1',
    '192.0.2.1',
    'localhost',
    '',
  ]) {
    assert.equal(isPrivate(text), false, text);
  }
});
