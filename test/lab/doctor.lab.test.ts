/** `postern doctor` against faults planted one at a time in a real kernel. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
const TO = ['--to', PLACES.direct.v4, '--to', PLACES.direct.v6];

describe('postern doctor', { skip: needsRoot }, () => {
  let network: LabNetwork;
  let config: string;
  const directory = mkdtempSync(join(tmpdir(), 'postern-doctor-'));

  before(async () => {
    network = await createNetwork();
    config = join(directory, 'postern.toml');
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
  const faults = async (): Promise<Finding[]> => {
    const { stdout } = await postern('doctor', ...TO, '--json');
    return (JSON.parse(stdout) as Finding[]).filter(({ state }) => state !== 'ok');
  };

  test('a healthy machine: nothing found, both directions tried in each family', async () => {
    const { code, stdout } = await postern('doctor', ...TO);
    assert.equal(code, 0, stdout);
    for (const family of ['198.51.100.126', '2001:db8:1:0:ffff:ffff:ffff:fffe'])
      assert.ok(stdout.includes(`both directions between ${family} and `), stdout);
    assert.match(stdout, /^Nothing found\.$/m);
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
      name: 'early demux',
      plant: 'sysctl -qw net.ipv4.tcp_early_demux=1',
      undo: '',
      check: 'sysctl',
      says: /tcp_early_demux: connections that are let through stall/,
      mend: /postern guard --rules-only/,
    },
  ];
  for (const { name, plant, undo, check, says, mend } of planted) {
    test(`Shows 4: ${name} is named with what mends it, and is gone when that is done`, async () => {
      await sh(plant);
      const found = (await faults()).filter((finding) => finding.check === check);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]?.text ?? '', says);
      assert.match(found[0]?.mend ?? '', mend);
      const mended = found[0]?.mend ?? '';
      if (mended.startsWith('postern ')) {
        const [, command = '', ...args] = mended.split(' ');
        assert.equal((await network.gateway.run(process.execPath, [MAIN, command, ...args])).code, 0);
      } else await sh(mended);
      assert.deepEqual(await faults(), []);
      if (undo !== '') await sh(undo);
    });
  }

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
    const { code, stdout } = await postern('doctor', '--to', PLACES.smarthost.v4);
    assert.equal(code, 0, stdout);
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
