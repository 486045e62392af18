/**
 * `postern doctor` against faults planted one at a time in a real kernel, without a guard, which would mend most of them
 * before anybody looks. Those of a whole gateway are in doctor-whole.lab.test.ts.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { createNetwork, type LabNetwork, PLACES, type Ran } from '../../src/lab/network.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { onLines, wholeConfig } from '../kit/whole.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MX = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
/** Of the machine that tests run on: whether its clock is kept right is not theirs to say. */
const MACHINES = ['clock'];
const TO = ['--to', PLACES.direct.v4, '--to', PLACES.direct.v6];

describe('postern doctor', { skip: needsRoot }, () => {
  let network: LabNetwork;
  let config: string;
  const directory = mkdtempSync(join(tmpdir(), 'postern-doctor-'));

  before(async () => {
    network = await createNetwork();
    config = join(directory, 'postern.toml');
    for (const place of ['state', 'run']) mkdirSync(join(directory, place));
    writeFileSync(config, wholeConfig(directory, { tables: { network: 'egress = "preserve"' } }));
    const listen = [`${PLACES.direct.v4}:25`, `[${PLACES.direct.v6}]:25`];
    const mx = network.internet.spawn(
      process.execPath,
      [MX, '--quiet', ...listen.flatMap((each) => ['--listen', each])],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let listening = 0;
    onLines(mx, () => listening++);
    await until(() => listening === 2, 'the MX');
    const applied = await postern('guard', '--rules-only');
    assert.equal(applied.code, 0, applied.stderr);
  });
  after(async () => {
    await network.destroy();
    rmSync(directory, { recursive: true, force: true });
  });

  const postern = (name: string, ...args: string[]): Promise<Ran> =>
    network.gateway.run(process.execPath, [MAIN, name, ...args, '--config', config]);
  const sh = async (command: string): Promise<void> => {
    const { code, stderr } = await network.gateway.run('sh', ['-ec', command]);
    assert.equal(code, 0, stderr);
  };
  const faults = async (to = TO): Promise<Finding[]> => {
    const { stdout } = await postern('doctor', ...to, '--json');
    return (JSON.parse(stdout) as Finding[]).filter(
      // No gateway runs here, and no smarthost or name server.
      ({ check, state }) => state !== 'ok' && ![...MACHINES, 'gateway', 'smarthost', 'resolver'].includes(check),
    );
  };
  /** What this check says by another configuration than the one that is in force. */
  const faultsBy = async (check: string, change: (text: string) => string): Promise<Finding[]> => {
    const other = join(directory, 'other.toml');
    writeFileSync(other, change(wholeConfig(directory, { tables: { network: 'egress = "preserve"' } })));
    const { stdout } = await network.gateway.run(process.execPath, [MAIN, 'doctor', '--json', '--config', other]);
    return (JSON.parse(stdout) as Finding[]).filter((found) => found.check === check && found.state !== 'ok');
  };

  test('Shows 3: a gateway that does not run is named with what starts it', async () => {
    const { code, stdout } = await postern('doctor', ...TO);
    assert.equal(code, 1);
    assert.match(stdout, /^FAULT +gateway +it does not run: .*\n +mend: systemctl start postern\.target$/m);
    assert.deepEqual(await faults(), []);
  });

  test('Shows 3: an interface that does not exist, and one that is down, are named with what mends them', async () => {
    const twoInside = (text: string): string => text.replace('inside = ["lan0"]', 'inside = ["lan0", "lan1"]');
    const [missing] = await faultsBy('interface', twoInside);
    assert.match(missing?.text ?? '', /^lan1 does not exist/);
    assert.match(missing?.mend ?? '', /intercept\.inside/);
    await sh('ip link add lan1 type veth peer name lan1x; ip link set lan1x up');
    const [down] = await faultsBy('interface', twoInside);
    assert.match(down?.text ?? '', /^lan1 is down/);
    await sh(`${down?.mend}; ip link set lan1x down`);
    const [noCarrier] = await faultsBy('interface', twoInside);
    assert.match(noCarrier?.text ?? '', /^lan1 has no carrier/);
    await sh('ip link set lan1x up');
    assert.deepEqual(await faultsBy('interface', twoInside), []);
    await sh('ip link del lan1');
  });

  test('Shows 3: hosts with IPv6 and no network that has any are named with what mends it', async () => {
    const found = await faultsBy('families', (text) => text.replace(', "2001:db8:1::/64"', ''));
    assert.match(found[0]?.text ?? '', /^hosts in 2001:db8:1:.* have IPv6, and no network has a prefix of it/);
    assert.match(found[0]?.mend ?? '', /add the hosts' IPv6 prefixes to a network/);
  });

  test('Shows 3: a full disk, and a run_dir that bodies do not fit into, are named with what mends them', async () => {
    const small = join(directory, 'small');
    const inIt = (command: string): Promise<Ran> =>
      network.gateway.run('sh', [
        '-ec',
        `mkdir -p ${small}; mount -t tmpfs -o size=16m tmpfs ${small}; ${command}; umount ${small}`,
      ]);
    const other = join(directory, 'small.toml');
    const text = wholeConfig(directory, { tables: { network: 'egress = "preserve"' } });
    const found: string[] = [];
    for (const place of ['state', 'run']) {
      writeFileSync(other, text.replace(`"${directory}/${place}"`, `"${small}"`));
      const { stdout } = await inIt(`'${process.execPath}' '${MAIN}' doctor --json --config ${other} || true`);
      const full = (JSON.parse(stdout) as Finding[]).find(
        ({ check, text: what }) => check === 'disk' && what.startsWith(small),
      );
      assert.match(full?.mend ?? '', /^df -h .*make room there/);
      found.push(`${full?.state} ${full?.text}`);
    }
    assert.match(found[0] ?? '', /^fault .*: only 16\.0 MiB and \d+ files are left/);
    assert.match(found[1] ?? '', /^fault .*: 16\.0 MiB in all, and bodies may take limits\.body_total/);
  });

  test('without a server nothing is claimed of the way there and back', async () => {
    const { code, stdout } = await postern('doctor');
    assert.equal(code, 1);
    assert.match(stdout, /^unknown +path .*\n +do: postern doctor --to ADDRESS/m);
  });

  const planted: readonly {
    readonly name: string;
    readonly plant: string;
    readonly undo: string;
    readonly check: string;
    readonly says: RegExp;
    readonly mend: RegExp;
  }[] = [
    {
      name: 'rp_filter',
      plant: 'sysctl -qw net.ipv4.conf.wan0.rp_filter=1; ip route add default via 203.0.113.25 dev wan0',
      undo: 'sysctl -qw net.ipv4.conf.wan0.rp_filter=0; ip route del default',
      check: 'rp_filter',
      says: /strict on wan0/,
      mend: /sysctl -w .*wan0\.rp_filter=2/,
    },
    {
      name: 'a missing policy rule',
      plant: 'ip rule del pref 27 fwmark 0x1000000/0xf000000',
      undo: '',
      check: 'routing',
      says: /pref 27 fwmark 0x1000000\/0xf000000 lookup 25252: packets for workers are routed away/,
      mend: /postern guard --rules-only/,
    },
    {
      name: 'a missing divert rule',
      plant: 'iptables -t mangle -D POSTERN-PREROUTING 1',
      undo: '',
      check: 'rules',
      says: /ipv4 mangle POSTERN-PREROUTING: hosts and servers get no answer/,
      mend: /postern guard --rules-only/,
    },
    {
      name: 'a rule of ours that is not the first',
      plant: 'iptables -I FORWARD 1 -p tcp --dport 25 -j ACCEPT',
      undo: 'iptables -D FORWARD -p tcp --dport 25 -j ACCEPT',
      check: 'rules',
      says: /ipv4 filter FORWARD position 1/,
      mend: /postern guard --rules-only/,
    },
    {
      name: 'a missing local route',
      plant: 'ip -6 route del local default dev lo table 25252',
      undo: '',
      check: 'routing',
      says: /ipv6 local default dev lo/,
      mend: /postern guard --rules-only/,
    },
    {
      name: 'forwarding off',
      plant: 'sysctl -qw net.ipv4.ip_forward=0',
      undo: '',
      check: 'sysctl',
      says: /sysctl net\/ipv4\/ip_forward: what is not for this machine goes no further/,
      mend: /postern guard --rules-only/,
    },
    {
      name: 'forwarding off on one interface',
      plant: 'sysctl -qw net.ipv4.conf.lan0.forwarding=0',
      undo: '',
      check: 'forwarding',
      says: /off for IPv4 on lan0/,
      mend: /sysctl -w net\.ipv4\.conf\.lan0\.forwarding=1/,
    },
    {
      name: 'a narrow MTU',
      plant: 'sysctl -qw net.ipv6.conf.lan0.keep_addr_on_down=1; ip link set dev lan0 mtu 1200',
      undo: 'ip -6 addr add 2001:db8:1::1/64 dev lan0 nodad; ip -6 addr add 2001:db8:1:1::1/64 dev lan0 nodad; ip -6 route add 2001:db8:1::/48 dev lan0',
      check: 'mtu',
      says: /1200 octets on lan0/,
      mend: /ip link set dev lan0 mtu 1500/,
    },
    {
      name: 'a firewall that lets nothing in',
      plant: 'iptables -A INPUT -i lo -j ACCEPT; iptables -P INPUT DROP',
      undo: 'iptables -P INPUT ACCEPT; iptables -F INPUT; iptables -I INPUT -p tcp -j POSTERN-INPUT',
      check: 'foreign',
      says: /IPv4 filter INPUT: policy DROP: what is intercepted does not get in/,
      mend: /iptables -t filter -I INPUT 2 -m mark --mark 0x1000000\/0xf000000 -j ACCEPT/,
    },
    {
      name: 'packets that are not tracked',
      plant: 'ip6tables -t raw -A PREROUTING -p tcp --dport 25 -j CT --notrack',
      undo: '',
      check: 'foreign',
      says: /IPv6 raw PREROUTING: .* --notrack: it is not seen, or not tracked/,
      mend: /ip6tables -t raw -D PREROUTING -p tcp .*--notrack/,
    },
    {
      name: 'a redirection',
      plant: 'iptables -t nat -A PREROUTING -i lan0 -p tcp -m multiport --dports 25,465 -j REDIRECT --to-ports 2526',
      undo: '',
      check: 'foreign',
      says: /IPv4 nat PREROUTING: .* REDIRECT .*: the server that was called is lost/,
      mend: /iptables -t nat -D PREROUTING/,
    },
    {
      name: 'translation of the addresses that are to be kept',
      plant:
        'ip route add default via 203.0.113.25 dev wan0; iptables -t nat -A POSTROUTING -s 198.51.100.0/24 -o wan0 -j MASQUERADE',
      undo: 'iptables -t nat -F POSTROUTING; ip route del default',
      check: 'foreign',
      says: /IPv4 nat POSTROUTING: .* MASQUERADE: hosts' own addresses are not kept/,
      mend: /iptables -t nat -I POSTROUTING 1 -m mark --mark 0x4000000\/0xf000000 -j ACCEPT/,
    },
    {
      name: 'early demux',
      plant: 'sysctl -qw net.ipv4.tcp_early_demux=1',
      undo: '',
      check: 'sysctl',
      says: /tcp_early_demux: connections that are let through stall/,
      mend: /postern guard --rules-only/,
    },
  ];
  for (const { name, plant, undo, check, says, mend } of planted) {
    test(`Shows 3, 4: ${name} is named with what mends it`, async () => {
      await sh(plant);
      const found = (await faults([])).filter((finding) => finding.check === check);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]?.text ?? '', says);
      assert.match(found[0]?.mend ?? '', mend);
      const mended = found[0]?.mend ?? '';
      if (mended.startsWith('postern ')) {
        const [, command = '', ...args] = mended.split(' ');
        assert.equal((await network.gateway.run(process.execPath, [MAIN, command, ...args])).code, 0);
      } else await sh(mended);
      if (undo !== '') await sh(undo);
    });
  }

  test('Shows 3, 4: all of them are gone when that is done', async () => {
    assert.deepEqual(await faults(), []);
  });

  test('Shows 4: an asymmetric path is named: the answer goes to the host by another way', async () => {
    const { gateway, inside, internet } = network;
    // A second wire between the hosts and the internet, which the servers take on their way back.
    const pair = [
      'link',
      'add',
      'side',
      'netns',
      inside.name,
      'type',
      'veth',
      'peer',
      'name',
      'side',
      'netns',
      internet.name,
    ];
    assert.equal((await gateway.run('ip', pair)).code, 0);
    for (const place of [inside, internet]) await place.run('ip', ['link', 'set', 'side', 'up']);
    await internet.run('ip', ['route', 'add', '198.51.100.0/24', 'dev', 'side', 'scope', 'link']);
    try {
      const found = await faults();
      assert.equal(found.length, 1, JSON.stringify(found));
      const [path] = found as [Finding];
      assert.equal(path.check, 'path');
      assert.match(path.text, /^between 198\.51\.100\.126 and 203\.0\.113\.25 only one direction crosses/);
      assert.match(path.mend ?? '', /let the router in front send 198\.51\.100\.0\/25 to this machine/);
    } finally {
      await internet.run('ip', ['link', 'del', 'side']);
    }
  });

  test('Shows 3: our own connection that comes back from inside is named', async () => {
    const { gateway, inside } = network;
    const host = PLACES.hosts[0].v4;
    for (const key of ['all.forwarding=1', 'eth0.accept_local=1', 'eth0.rp_filter=0', 'all.rp_filter=0'])
      await inside.run('sysctl', ['-qw', `net.ipv4.conf.${key}`]);
    await gateway.run('ip', ['route', 'add', '203.0.113.99', 'via', host, 'dev', 'lan0']);
    const { stdout } = await postern('doctor', '--to', '203.0.113.99', '--json');
    const found = (JSON.parse(stdout) as Finding[]).find(({ check }) => check === 'loop');
    assert.match(found?.text ?? '', /^our own connections come back from inside \(\d packets\)/);
    assert.match(found?.mend ?? '', /hold for what comes from the hosts' side alone/);
    await gateway.run('ip', ['route', 'del', '203.0.113.99']);
    await inside.run('sysctl', ['-qw', 'net.ipv4.conf.all.forwarding=0']);
  });

  test('a server that refuses the connection has answered, and proves both directions', async () => {
    const { stdout } = await postern('doctor', '--to', PLACES.smarthost.v4);
    assert.match(
      stdout,
      /^ok +path +both directions between 198\.51\.100\.126 and .*, which refuses the connection cross/m,
    );
  });

  test('a server that does not answer at all proves nothing either way', async () => {
    const { stdout } = await postern('doctor', '--to', '203.0.113.77', '--json');
    const path = (JSON.parse(stdout) as Finding[]).find(({ check }) => check === 'path');
    assert.equal(path?.state, 'unknown');
    assert.match(
      path.text,
      /answers neither 198\.51\.100\.126 nor this machine itself on port 25: (no answer|connect EHOSTUNREACH)/,
    );
  });
});
