/** `postern doctor` beside a whole gateway: nothing is wrong, then one fault at a time, and that is the only one found. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { PLACES } from '../../src/lab/network.ts';
import type { Records } from '../fake/dns.ts';
import { FakeService } from '../fake/service.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { onLines, startWhole, type Whole, wholeConfig } from '../kit/whole.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MX = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
/** Of the machine that tests run on: whether its clock is kept right is not theirs to say. */
const MACHINES = ['clock'];
const TO = ['--to', PLACES.direct.v4, '--to', PLACES.direct.v6];
const DNS = fileURLToPath(new URL('../fake/dns-main.ts', import.meta.url));
const ZONE: Readonly<Record<string, Records>> = {
  'gw1.example.net': { A: [PLACES.gatewayOutside.v4], AAAA: [PLACES.gatewayOutside.v6] },
  '1.113.0.203.in-addr.arpa': { PTR: ['gw1.example.net'] },
  [`1${'.0'.repeat(19)}.2.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa`]: { PTR: ['GW1.example.net'] },
  'iana.org': { A: ['192.0.2.1'], isSecure: true },
};
const RESOLVER = '[filters]\nresolver = ["127.0.0.1:53"]';

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

  test('a host whose mode is another for a while is as planned', async () => {
    const { gateway } = whole.network;
    const host = PLACES.hosts[1].v4;
    const { code, stderr } = await whole.gateway.postern('mode', host, 'block', '--reason', 'x', '--for', '1h');
    assert.equal(code, 0, stderr);
    for (let sets = ''; !sets.includes(host); )
      sets = (await gateway.run('sh', ['-c', 'ipset list -n | grep postern-net | xargs -n1 ipset save'])).stdout;
    assert.deepEqual((await doctor()).findings, []);
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
      /^ip link set dev wan0 mtu 1400$/,
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
