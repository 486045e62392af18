import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { contains, parseAddress, parsePrefix } from '../../../src/kit/address.ts';
import type { Lock } from '../../../src/ledger/language.ts';
import { lockTable } from '../../../src/ledger/locktable.ts';
import { seed } from '../../kit/tier.ts';

function lock(subject: string, until?: number): Lock {
  return { subject, how: 'reject', reason: subject, who: 'test', since: 0, until };
}

test('the longest prefix wins, in both families', () => {
  const table = lockTable(
    ['198.51.100.0/24', '198.51.0.0/16', '198.51.100.7/32', '2001:db8:1:2::/64', '2001:db8::/32'].map((s) => lock(s)),
  );
  const found = (address: string): string | undefined => table.find(address, 1)?.subject;
  assert.equal(found('198.51.100.7'), '198.51.100.7/32');
  assert.equal(found('::ffff:198.51.100.7'), '198.51.100.7/32');
  assert.equal(found('198.51.100.8'), '198.51.100.0/24');
  assert.equal(found('198.51.1.1'), '198.51.0.0/16');
  assert.equal(found('203.0.113.1'), undefined);
  assert.equal(found('2001:db8:1:2:ffff::1'), '2001:db8:1:2::/64');
  assert.equal(found('2001:db8:1:3::1'), '2001:db8::/32');
  assert.equal(found('2001:db9::1'), undefined);
  assert.equal(found('no address'), undefined);
});

test('one that has run out gives way to the next wider', () => {
  const table = lockTable([lock('198.51.100.7/32', 100), lock('198.51.100.0/24', 200)]);
  assert.equal(table.find('198.51.100.7', 99)?.subject, '198.51.100.7/32');
  assert.equal(table.find('198.51.100.7', 100)?.subject, '198.51.100.0/24');
  assert.equal(table.find('198.51.100.7', 200), undefined);
});

test('the same answer as asking every lock', () => {
  const prefix = fc
    .tuple(
      fc.nat(255),
      fc.nat(3),
      fc.integer({ min: 8, max: 32 }),
      fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
    )
    .map(([b, d, length, until]) => {
      const value = (BigInt(198) << 24n) | (BigInt(b) << 16n) | BigInt(d);
      const shift = BigInt(32 - length);
      const base = (value >> shift) << shift;
      const text = [24n, 16n, 8n, 0n].map((s) => (base >> s) & 255n).join('.');
      return lock(`${text}/${length}`, until);
    });
  fc.assert(
    fc.property(
      fc.uniqueArray(prefix, { maxLength: 40, selector: (l) => l.subject }),
      fc.nat(255),
      fc.nat(3),
      (locks, b, d) => {
        const address = `198.${b}.0.${d}`;
        const parsed = parseAddress(address) as NonNullable<ReturnType<typeof parseAddress>>;
        const expected = locks
          .filter((one) => one.until === undefined || one.until > 5)
          .map((one) => ({ one, prefix: parsePrefix(one.subject) as NonNullable<ReturnType<typeof parsePrefix>> }))
          .filter((pair) => contains(pair.prefix, parsed))
          .sort((x, y) => y.prefix.length - x.prefix.length)[0]?.one;
        assert.equal(lockTable(locks).find(address, 5), expected);
      },
    ),
    { seed, numRuns: 300 },
  );
});

test('a lock of a subscriber or tenant, and of an identity of one of them or of an address', () => {
  const base = { how: 'reject', reason: 'r', who: 'w', since: 0, until: undefined } as const;
  const table = lockTable([
    { ...base, subject: '@web-1' },
    { ...base, subject: 'tenant:acme' },
    { ...base, subject: '@web-2', identity: 'bob' },
    { ...base, subject: 'tenant:other', identity: 'carol' },
    { ...base, subject: '198.51.100.0/24', identity: 'dave' },
  ]);
  const of = (subject: string, tenant?: string) => ({ address: '198.51.100.7', subject, tenant });
  assert.equal(table.find('198.51.100.7', 5, of('@web-1'))?.subject, '@web-1');
  assert.equal(table.find('198.51.100.7', 5, of('@web-9', 'acme'))?.subject, 'tenant:acme');
  assert.equal(table.find('198.51.100.7', 5, of('@web-2', 'other')), undefined);
  assert.equal(table.find('198.51.100.7', 5), undefined);
  const found = (identity: string, whom: ReturnType<typeof of>) => table.findIdentity(identity, whom, 5)?.subject;
  assert.equal(found('bob', of('@web-2')), '@web-2');
  assert.equal(found('bob', of('@web-3')), undefined);
  assert.equal(found('carol', of('@web-3', 'other')), 'tenant:other');
  assert.equal(found('dave', of('@web-3')), '198.51.100.0/24');
  assert.equal(found('dave', { ...of('@web-3'), address: '203.0.113.7' }), undefined);
  assert.equal(found('alice', of('@web-2', 'other')), undefined);
});
