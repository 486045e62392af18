/** What `postern router linux` prints, applied on a router between hosts, a gateway at its side and the internet. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { runHere } from '../../src/lab/namespace.ts';
import { createNetwork, type LabNetwork, PLACES } from '../../src/lab/network.ts';
import { Agent } from '../kit/agent.ts';
import { must } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const VERSIONS = ['v4', 'v6'] as const;
const GATEWAY = { v4: '192.0.2.1', v6: '2001:db8:f::1' } as const;
const CONFIG = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["rt0"]
[smarthost]
servers = ["192.0.2.25:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/25", "2001:db8:1::/64"]
`;

suite('postern router linux', { skip: needsRoot }, () => {
  let network: LabNetwork;
  /** its gateway is the box at the router's side */
  let aside: LabNetwork;
  let inside: Agent;
  let internet: Agent;
  const router = async (script: string): Promise<void> => {
    must(await network.gateway.run('sh', ['-ec', script]));
  };

  before(async () => {
    [network, aside] = [await createNetwork(), await createNetwork()];
    const box = aside.gateway;
    must(
      await runHere('ip', [
        'link',
        'add',
        'box0',
        'netns',
        network.gateway.name,
        'type',
        'veth',
        'peer',
        'name',
        'rt0',
        'netns',
        box.name,
      ]),
    );
    await router(
      'ip addr add 192.0.2.2/24 dev box0; ip addr add 2001:db8:f::2/64 dev box0 nodad; ip link set box0 up; sysctl -qw net.ipv4.conf.box0.rp_filter=2',
    );
    must(
      await box.run('sh', [
        '-ec',
        `ip link del lan0; ip link del wan0
        ip addr add ${GATEWAY.v4}/24 dev rt0; ip addr add ${GATEWAY.v6}/64 dev rt0 nodad; ip link set rt0 up
        ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8:f::2
        for tables in iptables ip6tables; do $tables -t nat -A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525; done`,
      ]),
    );
    inside = await Agent.start(network.inside);
    internet = await Agent.start(network.internet);
    const gateway = await Agent.start(box);
    for (const any of ['0.0.0.0', '::']) await gateway.listen(any, 2525, 'gateway');
    for (const v of VERSIONS) {
      for (const port of [25, 587]) await internet.listen(PLACES.direct[v], port, 'internet');
      await inside.listen(PLACES.hosts[0][v], 25, 'inside');
    }
    const directory = mkdtempSync(join(tmpdir(), 'postern-router-'));
    const path = join(directory, 'postern.toml');
    writeFileSync(path, CONFIG);
    const args = [MAIN, 'router', 'linux', '--interface', 'lan0', '--config', path];
    const { stdout } = must(
      await runHere(process.execPath, [...args, '--next-hop', GATEWAY.v4, '--next-hop', GATEWAY.v6]),
    );
    rmSync(directory, { recursive: true });
    // A second time it is the same.
    for (let times = 0; times < 2; times++) await router(stdout);
  });
  after(async () => {
    await network.destroy();
    await aside.destroy();
  });

  for (const v of VERSIONS) {
    test(`IP${v}: port 25 of the networks goes to the gateway, of others nowhere; all else is as it was`, async () => {
      for (const host of PLACES.hosts)
        assert.equal(await inside.connect(PLACES.direct[v], 25, { from: host[v], timeoutMs: 10_000 }), 'gateway');
      assert.match(
        await inside.connect(PLACES.direct[v], 25, { from: PLACES.stranger[v] }),
        /^E(?:HOSTUNREACH|ACCES)$/,
      );
      for (const from of [PLACES.hosts[0][v], PLACES.stranger[v]])
        assert.equal(await inside.connect(PLACES.direct[v], 587, { from, timeoutMs: 10_000 }), 'internet');
      assert.equal(
        await internet.connect(PLACES.hosts[0][v], 25, { timeoutMs: 10_000 }),
        'inside',
        'mail from outside',
      );
    });
  }

  test('without the gateway port 25 is refused, and does not take the usual way', async () => {
    await router('ip link set box0 down');
    for (const v of VERSIONS)
      assert.match(
        await inside.connect(PLACES.direct[v], 25, { from: PLACES.hosts[0][v] }),
        /^E(?:HOSTUNREACH|ACCES)$/,
      );
  });
});
