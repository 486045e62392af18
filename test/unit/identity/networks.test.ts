import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Network } from '../../../src/config/schema.ts';
import { networksOf } from '../../../src/identity/networks.ts';
import { parsePrefix, type Prefix } from '../../../src/kit/address.ts';

function network(name: string, ...prefixes: string[]): Network {
  return { name, prefixes: prefixes.map((text) => parsePrefix(text) as Prefix) } as unknown as Network;
}

test('the longest prefix that holds an address', () => {
  const networks = networksOf([
    network('wide', '198.51.100.0/24', '2001:db8::/32'),
    network('host', '198.51.100.7/32', '2001:db8:1:2::/64'),
    network('all', '0.0.0.0/0'),
  ]);
  for (const [address, want] of [
    ['198.51.100.7', 'host'],
    ['::ffff:198.51.100.7', 'host'],
    ['198.51.100.8', 'wide'],
    ['203.0.113.1', 'all'],
    ['2001:db8:1:2::9', 'host'],
    ['2001:db8:1:3::9', 'wide'],
    ['2001:db9::1', undefined],
    ['not an address', undefined],
  ] as const) {
    assert.equal(networks.find(address)?.name, want, address);
  }
});
