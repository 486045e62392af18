/** Steps on the ladder as the kernel's groups: those who take one, and nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { groupsOf } from '../../../src/guard/groups.ts';
import { withSteps } from '../../../src/guard/stepped.ts';
import type { Step } from '../../../src/ledger/language.ts';
import { StepTable } from '../../../src/ledger/steptable.ts';
import { sendersOf, subjectOf } from '../../../src/identity/senders.ts';
import { PrefixMap } from '../../../src/kit/prefix-map.ts';

const NOW = 1_000;
const TOML = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]
[[network]]
name = "wide"
prefixes = ["203.0.113.0/24", "2001:db8:2::/48"]
ipv6_prefix = 56
mode = "observe"
[[subscriber]]
name = "web"
prefixes = ["198.51.100.16/28", "2001:db8:1:10::/60"]
[[subscriber]]
name = "monitor"
prefixes = ["198.51.100.20"]
mode = "exempt"
`;
const loaded = await parseConfig(TOML, 'a.toml');
assert.ok(loaded.ok);
const { config } = loaded;
const step = (subject: string, mode: Step['mode'], until?: number): Step => ({
  ...{ subject, mode, reason: '', who: '', since: 0 },
  until,
});

/** What the kernel does with an address, and what a worker would. */
function modes(steps: readonly Step[], address: string): [kernel: string | undefined, worker: string | undefined] {
  const groups = groupsOf(withSteps(config, steps, NOW));
  const sets = new PrefixMap(groups.flatMap((group) => group.prefixes.map((prefix) => [prefix, group.mode] as const)));
  const sender = sendersOf(config).find(address);
  if (!sender) return [sets.find(address), undefined];
  const { network, subscriber } = sender;
  const whom = {
    subject: subjectOf(sender, address),
    network: network.name,
    hasOwnMode: subscriber?.mode !== undefined,
  };
  return [sets.find(address), new StepTable(steps).modeOf(whom, NOW) ?? network.mode];
}

for (const [steps, expected] of [
  [[], 'enforce enforce exempt enforce observe enforce enforce observe observe'],
  [[step('198.51.100.7', 'block')], 'block enforce exempt enforce observe enforce enforce observe observe'],
  [[step('@web', 'block')], 'enforce block exempt enforce observe block enforce observe observe'],
  [[step('@monitor', 'block')], 'enforce enforce block enforce observe enforce enforce observe observe'],
  [[step('network:customers', 'block')], 'block block exempt block observe block block observe observe'],
  [
    [step('network:customers', 'block'), step('198.51.100.7', 'observe'), step('@web', 'smarthost-only')],
    'observe smarthost-only exempt block observe smarthost-only block observe observe',
  ],
  [[step('2001:db8:1:1::/64', 'exempt')], 'enforce enforce exempt enforce observe enforce exempt observe observe'],
  [[step('2001:db8:2:100::/56', 'block')], 'enforce enforce exempt enforce observe enforce enforce block observe'],
  // Somebody who is counted under another name, is not there, or whose time is over.
  [
    [
      step('198.51.100.17', 'block'),
      step('2001:db8:2:100::/64', 'block'),
      step('192.0.2.1', 'block'),
      step('@nobody', 'block'),
      step('network:nowhere', 'block'),
      step('198.51.100.7', 'block', NOW),
    ],
    'enforce enforce exempt enforce observe enforce enforce observe observe',
  ],
] as const) {
  test(`${steps.map(({ subject, mode }) => `${subject} ${mode}`).join(', ') || 'no step'}: kernel and worker agree`, () => {
    const addresses =
      '198.51.100.7 198.51.100.17 198.51.100.20 198.51.100.99 203.0.113.7 2001:db8:1:11::1 2001:db8:1:1::1 2001:db8:2:1ff::1 2001:db8:2:200::1';
    const found = addresses.split(' ').map((address) => modes(steps, address));
    assert.deepEqual(
      found.map(([kernel]) => kernel),
      expected.split(' '),
    );
    assert.deepEqual(
      found.map(([, worker]) => worker),
      expected.split(' '),
    );
  });
}

test('without steps, or when all have ended, the configuration is the very same', () => {
  assert.equal(withSteps(config, [step('@web', 'block', NOW)], NOW), config);
});
