/**
 * `postern doctor` against faults planted one at a time in a real kernel: first without a guard, which would mend most of
 * them before anybody looks, then beside a whole gateway.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { createNetwork, type LabNetwork, PLACES, type Ran } from '../../src/lab/network.ts';
import type { Records } from '../fake/dns.ts';
import { FakeService } from '../fake/service.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { onLines, startWhole, type Whole, wholeConfig } from '../kit/whole.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MX = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
/** Of the machine that tests run on: whether its clock is kept right is not theirs to say. */
const MACHINES = ['clock'];
const DNS = fileURLToPath(new URL('../fake/dns-main.ts', import.meta.url));
const ZONE: Readonly<Record<string, Records>> = {
  'gw1.example.net': { A: [PLACES.gatewayOutside.v4], AAAA: [PLACES.gatewayOutside.v6] },
  '1.113.0.203.in-addr.arpa': { PTR: ['gw1.example.net'] },
  [`1${'.0'.repeat(19)}.2.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa`]: { PTR: ['GW1.example.net'] },
  'iana.org': { A: ['192.0.2.1'], isSecure: true },
};
const RESOLVER = '[filters]\nresolver = ["127.0.0.1:53"]';
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
    assert.match(path.text, /does not answer this machine itself on port 25: (no answer|connect EHOSTUNREACH)/);
  });
});

describe('postern doctor beside a whole gateway', { skip: needsRoot, timeout: 180_000 }, () => {
  const clamd = new FakeService('clamd', { says: 'stream: OK' });
  let whole: Whole;
  let dns: ChildProcess;
  const answered: string[] = [];
  const tables = (more = '', network = 'egress = "preserve"'): Readonly<Record<string, string>> => ({
    network,
    more: `${RESOLVER}\n[filters.clamd]\nserver = "${clamd.address}"\n${more}\n[preserve]\nresolver = "127.0.0.1:53"`,
  });
  before(async () => {
    clamd.version = `ClamAV 1.0.0/27800/${new Date(Date.now() - 2 * 3_600_000).toString().slice(0, 24)}`;
    await clamd.start();
    chmodSync(clamd.address, 0o666);
    whole = await startWhole({ tables: tables() });
    const { gateway, internet } = whole.network;
    dns = gateway.spawn(process.execPath, [DNS], { stdio: ['pipe', 'pipe', 'inherit'] });
    onLines(dns, (line) => answered.push(line));
    await zoneIs(ZONE);
    const listen = [`${PLACES.direct.v4}:25`, `[${PLACES.direct.v6}]:25`].flatMap((each) => ['--listen', each]);
    const mx = internet.spawn(process.execPath, [MX, '--quiet', ...listen], { stdio: ['ignore', 'pipe', 'inherit'] });
    let listening = 0;
    onLines(mx, () => listening++);
    await until(() => listening === 2, 'the MX');
  });
  after(async () => {
    dns.stdin?.end();
    await whole.close();
    await clamd.close();
  });

  const zoneIs = async (zone: Readonly<Record<string, Records>>): Promise<void> => {
    const before = answered.length;
    dns.stdin?.write(`${JSON.stringify(zone)}\n`);
    await until(() => answered.length > before, 'the zone');
  };
  const doctor = async (config = whole.gateway.configPath): Promise<{ code: number; findings: Finding[] }> => {
    const { code, stdout } = await whole.network.gateway.run(process.execPath, [
      ...[MAIN, 'doctor', '--json', '--config', config],
      ...TO,
    ]);
    const all = JSON.parse(stdout) as Finding[];
    return { code, findings: all.filter(({ check, state }) => state !== 'ok' && !MACHINES.includes(check)) };
  };
  /** Exactly one fault: this one. */
  const isNamed = async (check: string, says: RegExp, mend: RegExp, config?: string): Promise<void> => {
    const { code, findings } = await doctor(config);
    assert.deepEqual(
      findings.map((found) => found.check),
      [check],
      JSON.stringify(findings),
    );
    assert.match(findings[0]?.text ?? '', says);
    assert.match(findings[0]?.mend ?? '', mend);
    assert.equal(code, 1);
  };
  const otherConfig = (
    change: Readonly<Record<string, string>>,
    with_: (text: string) => string = (text) => text,
  ): string => {
    const path = join(whole.directory, 'other.toml');
    writeFileSync(path, with_(wholeConfig(whole.directory, { tables: change })));
    return path;
  };
  const inInternet = async (command: string): Promise<void> => {
    const { code, stderr } = await whole.network.internet.run('sh', ['-ec', command]);
    assert.equal(code, 0, stderr);
  };

  test('Shows 3: a healthy machine has no fault, and both directions were tried in each family', async () => {
    assert.deepEqual((await doctor()).findings, []);
    const { stdout } = await whole.gateway.postern('doctor', ...TO);
    for (const family of ['198.51.100.126', '2001:db8:1:0:ffff:ffff:ffff:fffe'])
      assert.ok(stdout.includes(`both directions between ${family} and `), stdout);
    assert.match(stdout, /^ok +mtu +packets of full size arrive at 203\.0\.113\.87:587$/m);
  });

  test('Shows 3: old definitions are named with what mends them', async () => {
    const config = otherConfig(tables('stale = "1h"'));
    await isNamed('definitions', /^those of clamd are of \d{4}-/, /freshclam/, config);
  });

  test('Shows 3: a smarthost that cannot be reached is named with what mends it', async () => {
    const rule = 'INPUT -p tcp --dport 587 -j REJECT --reject-with tcp-reset';
    await inInternet(`iptables -I ${rule}`);
    const mend = /^ip route get 203\.0\.113\.87; then its operator: port 587/;
    await isNamed('smarthost', /^203\.0\.113\.87:587: upstream\.down: connect ECONNREFUSED/, mend);
    await inInternet(`iptables -D ${rule}`);
  });

  test('Shows 3: a smarthost without TLS where it is demanded is named with what mends it', async () => {
    const config = otherConfig(tables(), (text) => text.replace('"opportunistic"', '"verify"'));
    await isNamed(
      'smarthost',
      /: upstream\.tls: /,
      /openssl s_client -starttls smtp -connect 203\.0\.113\.87:587/,
      config,
    );
  });

  test('Shows 3: a path that loses packets of full size is named with what mends it', async () => {
    const rule = 'INPUT -p tcp --dport 587 -m length --length 1000:65535 -j DROP';
    await inInternet(`iptables -I ${rule}`);
    await isNamed(
      'mtu',
      /^203\.0\.113\.87:587 answers small packets and not those of full size/,
      /^ip link set dev wan0 mtu 1400/,
    );
    await inInternet(`iptables -D ${rule}`);
  });

  test('Shows 3: a name that is not ours, and an address without a way back, are named with what mends them', async () => {
    await zoneIs({ ...ZONE, 'gw1.example.net': { A: ['192.0.2.9'] } });
    const mend = /^in the DNS: gw1\.example\.net\. A 203\.0\.113\.1$/;
    await isNamed('helo', /^gw1\.example\.net, our name in EHLO, is 192\.0\.2\.9; this machine is /, mend);
    await zoneIs({ ...ZONE, '1.113.0.203.in-addr.arpa': { PTR: ['host-1.example.org'] } });
    await isNamed('ptr', /^203\.0\.113\.1 is host-1\.example\.org by its PTR/, /set its PTR to gw1\.example\.net$/);
    await zoneIs(ZONE);
  });

  test('Shows 3: a resolver that does not validate, and one that does not answer, are named with what mends them', async () => {
    await zoneIs({ ...ZONE, 'iana.org': { A: ['192.0.2.1'] } });
    await isNamed('dnssec', /^127\.0\.0\.1:53 does not validate/, /unbound/);
    await zoneIs(ZONE);
    const config = otherConfig(tables(), (text) =>
      text.replace('resolver = ["127.0.0.1:53"]', 'resolver = ["127.0.0.1:54"]'),
    );
    await isNamed('resolver', /^127\.0\.0\.1:54 does not answer/, /filters\.resolver/, config);
  });

  test('Shows 3: too few descriptors are named with what mends them', async () => {
    const before = whole.processes().get('postern: worker 1');
    // A worker has as many as its supervisor may give it.
    await whole.network.gateway.run('prlimit', ['--pid', String(whole.gateway.pid), '--nofile=1024:1024']);
    process.kill(before as number, 'SIGKILL');
    await until(() => ![undefined, before].includes(whole.processes().get('postern: worker 1')), 'a new worker');
    const { code, findings } = await doctor();
    assert.equal(code, 1);
    const [low] = findings.filter(({ check }) => check === 'descriptors');
    assert.match(low?.text ?? '', /^postern: worker 1 may have 1024 open: from 819 on/);
    assert.match(low?.mend ?? '', /LimitNOFILE=65536/);
  });
});
