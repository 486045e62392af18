import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import type { Network } from '../../../src/config/schema.ts';
import { type Sender, sendersOf, subjectOf } from '../../../src/identity/senders.ts';
import { parsePrefix, type Prefix } from '../../../src/kit/address.ts';
import { goodToml } from '../config/outside.fake.ts';

const loaded = await parseConfig(goodToml, 'good.toml');
assert.ok(loaded.ok);
const [base] = loaded.config.network;

function network(name: string, ...prefixes: string[]): Network {
  return { ...(base as Network), name, prefixes: prefixes.map((text) => parsePrefix(text) as Prefix) };
}

test('the longest prefix that holds an address', () => {
  const senders = sendersOf({
    subscriber: [],
    network: [
      network('wide', '198.51.100.0/24', '2001:db8::/32'),
      network('host', '198.51.100.7/32', '2001:db8:1:2::/64'),
      network('all', '0.0.0.0/0'),
    ],
  });
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
    assert.equal(senders.find(address)?.network.name, want, address);
  }
});

const place = { file: 'a.toml', line: 1 };
const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => parsePrefix(text) as Prefix);

test('a subscriber has its own settings where it has some, its network the others; inner prefixes win', () => {
  const customers = {
    ...network('customers', '198.51.100.0/24', '2001:db8:1::/48'),
    mode: 'enforce',
    maxConnections: 200,
    ipv6Prefix: 56,
  } as Network;
  const senders = sendersOf({
    network: [customers],
    subscriber: [
      { name: 'rack', prefixes: prefixes('198.51.100.16/28'), maxConnections: 50, place },
      { name: 'web-17', prefixes: prefixes('198.51.100.17/32', '2001:db8:1:17::/64'), mode: 'observe', place },
    ],
  });
  const seen = (address: string): unknown[] => {
    const sender = senders.find(address) as Sender;
    return [sender.network.mode, sender.network.maxConnections, sender.network.name, subjectOf(sender, address)];
  };
  assert.deepEqual(seen('198.51.100.17'), ['observe', 200, 'customers', '@web-17']);
  assert.deepEqual(seen('2001:db8:1:17::9'), ['observe', 200, 'customers', '@web-17']);
  assert.deepEqual(seen('198.51.100.18'), ['enforce', 50, 'customers', '@rack']);
  assert.deepEqual(seen('198.51.100.1'), ['enforce', 200, 'customers', '198.51.100.1']);
  assert.deepEqual(seen('2001:db8:1:1801::1'), ['enforce', 200, 'customers', '2001:db8:1:1800::/56']);
  assert.equal(senders.find('203.0.113.1'), undefined);
  assert.equal(senders.find('198.51.100.17'), senders.find('198.51.100.17'), 'made once');
});
