/** The units under the real systemd: users, capabilities, mail, restarts under load, a worker that hangs, a reload. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, describe, type TestContext, test } from 'node:test';
import { buildDeb } from '../../appliance/deb.ts';
import type { Status } from '../../src/ledger/language.ts';
import { type Reached, startDirect } from '../../src/lab/direct.ts';
import { createNetwork, type LabNetwork, PLACES } from '../../src/lab/network.ts';
import type { Reporter } from '../../src/lab/reporter.ts';
import { type Smarthost, startSmarthost } from '../../src/lab/smarthost.ts';
import { withSwaks } from '../../src/lab/send.ts';
import { count, isLong, needsRoot } from '../kit/tier.ts';
import { Client, type Line } from '../lab/run/running.ts';
import type { Sent } from './load.ts';
import { bootMachine, EPOCH_S, type Machine, pathsIn, sweepMachines } from './machine.ts';

const missing = ['mmdebstrap', 'systemd-nspawn', 'swaks'].find((tool) => spawnSync(tool, ['--version']).error);
const skip = needsRoot || (missing === undefined ? false : `needs ${missing}`);

/** With nothing in the cache a Debian is fetched first. */
const START_TIMEOUT_MS = 600_000;

describe('systemd', { skip }, () => {
  let network: LabNetwork;
  let smarthost: Smarthost;
  let machine: Machine;
  /** the server that hosts call; it answers, so whoever gets past the gateway is seen */
  let direct: Reporter<Reached>;
  let client: Client;
  const cleanups: (() => unknown)[] = [];

  before(
    async () => {
      sweepMachines();
      network = await createNetwork();
      cleanups.push(network.destroy);
      const directory = mkdtempSync(join(tmpdir(), 'postern-nspawn-'));
      cleanups.push(() => rmSync(directory, { recursive: true }));
      smarthost = await startSmarthost(network.internet, { directory });
      cleanups.push(() => smarthost.stop());
      direct = await startDirect(network.internet);
      cleanups.push(() => direct.stop());
      client = new Client(network.inside);
      cleanups.push(() => client.end());
      machine = await bootMachine({
        netns: network.gateway.name,
        files: {
          '/etc/postern/postern.toml': configText(smarthost.servers),
          '/etc/postern/smarthost.pem': readFileSync(smarthost.caFile, 'utf8'),
        },
      });
      cleanups.push(machine.stop);
    },
    { timeout: START_TIMEOUT_MS },
  );
  after(async () => {
    for (const clean of cleanups.reverse()) await clean();
  });
  afterEach(async (t) => {
    // What the units said, for whoever has to find out why.
    if ((t as TestContext).error === null) return;
    const { stdout } = await machine.run('journalctl', '-b', '-n', '200', '-o', 'cat', '-u', 'postern*');
    const lines = stdout.split('\n').filter((line) => !line.includes('"event":"attempt"'));
    (t as TestContext).diagnostic(lines.slice(-60).join('\n'));
  });

  /** Writes the configuration with a change; without one, as it was at first. */
  const configure = (change: (text: string) => string = (text) => text): void =>
    writeFileSync(machine.path('/etc/postern/postern.toml'), change(configText(smarthost.servers)));

  const mainPid = async (unit: string): Promise<number> =>
    Number(await machine.ask('systemctl', 'show', '-P', 'MainPID', unit));

  const isActive = async (unit: string): Promise<boolean> =>
    (await machine.run('systemctl', 'is-active', '-q', unit)).code === 0;

  async function until(what: string, isSo: () => Promise<boolean>, withinMs: number): Promise<void> {
    for (const deadline = performance.now() + withinMs; !(await isSo()); await sleep(50))
      assert.ok(performance.now() < deadline, `not within ${withinMs} ms: ${what}`);
  }

  test('the units are as systemd wants them', async () => {
    const units = [
      'postern.target',
      'postern-rules.service',
      'postern-guard.service',
      'postern-keeper.service',
      'postern-apply.path',
      'postern-apply.service',
      'postern-worker@1.socket',
      'postern-worker@1.service',
    ];
    // It says what it does not understand and ends with 0 all the same.
    const { code, stdout, stderr } = await machine.run('systemd-analyze', '--man=no', 'verify', ...units);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' });
  });

  test('Shows 8: everything is up: rules, guard, keeper, as many workers as configured, and nothing has failed', async () => {
    const list = await machine.ask('systemctl', 'list-units', '--all', '--plain', '--no-legend', 'postern*');
    const states = Object.fromEntries(list.split('\n').map((line) => [line.split(/\s+/)[0], line.split(/\s+/)[2]]));
    const roles = ['postern-rules.service', 'postern-guard.service', 'postern-keeper.service'];
    const names = ['postern.target', 'postern-apply.path', ...roles];
    for (const worker of [1, 2]) names.push(`postern-worker@${worker}.socket`, `postern-worker@${worker}.service`);
    const { 'postern-apply.service': waiting, ...others } = states;
    assert.equal(waiting, 'inactive');
    assert.deepEqual(others, Object.fromEntries(names.map((name) => [name, 'active'])));
    assert.equal(await machine.ask('systemctl', 'is-system-running'), 'running');
    for (const name of names.filter((unit) => unit.endsWith('.service')))
      assert.equal(await machine.ask('systemctl', 'show', '-P', 'NRestarts', name), '0', `${name} was started once`);
  });

  test('the panel is served from the sandbox of the keeper, and a user can be added', async () => {
    const program = `fetch('http://127.0.0.1:8025/assets/app.ts').then((r) => console.log(r.status, r.headers.get('content-type')))`;
    assert.equal(await machine.ask('/usr/lib/postern/node', '-e', program), '200 text/javascript; charset=utf-8');
    const added = await machine.ask('sh', '-c', 'echo a long enough one | postern user add anna --admin');
    assert.equal(added, 'anna may log in, with the role admin');
  });

  test('Shows 8: each role has its own user and the capabilities of its work, by /proc/PID/status', async () => {
    const NOTHING = '0000000000000000';
    for (const [unit, user, caps] of [
      // CAP_NET_ADMIN (12) and CAP_NET_RAW (13)
      ['postern-guard', 'postern-guard', '0000000000003000'],
      ['postern-keeper', 'postern-keeper', NOTHING],
      ['postern-worker@1', 'postern-worker', NOTHING],
      ['postern-worker@2', 'postern-worker', NOTHING],
    ] as const) {
      const pid = String(await mainPid(unit));
      const status = await machine.ask('cat', `/proc/${pid}/status`);
      const seen = Object.fromEntries(
        [...status.matchAll(/^(\w+):\s*(.*?)\s*$/gm)].map(([, key, value]) => [key, value]),
      );
      const id = await machine.ask('id', '-u', user);
      const groups = (await machine.ask('id', '-G', user)).split(' ').sort();
      assert.deepEqual(
        ['Uid', 'Gid', 'NoNewPrivs', 'Seccomp', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(
          (key) => seen[key],
        ),
        [
          Array(4).fill(id).join('\t'),
          Array(4)
            .fill(await machine.ask('id', '-g', user))
            .join('\t'),
          '1',
          '2',
          caps,
          caps,
          caps,
          caps,
          caps,
        ],
        unit,
      );
      assert.deepEqual(seen['Groups']?.split(' ').sort(), groups, unit);
      assert.equal(groups.length, 2, `${user} is in its own group and in the shared one`);
      const line = (await machine.ask('cat', `/proc/${pid}/cmdline`)).split('\0')[0];
      assert.equal(line, `postern: ${unit.replace('postern-', '').replace('@', ' ')}`);
    }
  });

  test('Shows 8: mail flows, IPv4 and IPv6, and the gateway says that it intercepts', async () => {
    await until(
      'intercepting',
      async () => /Intercepting: yes/.test((await machine.run('postern', 'status')).stdout),
      60_000,
    );
    for (const family of ['v4', 'v6'] as const) {
      const source = PLACES.hosts[0][family];
      const from = `${family}@customer.example`;
      const message = Buffer.from(
        `From: <${from}>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <${family}@customer.example>\r\nSubject: ${family}\r\n\r\nHello\r\n`,
      );
      const saw = await withSwaks(network.inside, {
        server: PLACES.direct[family],
        port: 25,
        source,
        helo: 'host.customer.example',
        from,
        to: ['someone@example.org'],
        message,
      });
      assert.match(saw.reply, /^250 /, JSON.stringify(saw));
      const arrived = await smarthost.waitFor(({ messageId }) => messageId === `<${family}@customer.example>`, 60_000);
      assert.equal(arrived?.receivedByUs, true);
    }
    const seen = async (): Promise<boolean> => {
      const { prefixes } = JSON.parse(await machine.ask('postern', 'status', '--json')) as Status;
      return prefixes.length === 2 && prefixes.every(({ lastSeenAt }) => lastSeenAt !== undefined);
    };
    await until('both prefixes have been seen', seen, 60_000);
  });

  test('Shows 8: a worker restarted under load refuses nothing, loses nothing, and nobody waits 5 s', async (t) => {
    const load = startLoad(network, 50);
    // Hosts in the middle of a body that does not go on: each worker that has one waits its gateway.drain for it.
    const slow = Array.from({ length: 6 }, () => openSlowSession(client));
    await Promise.all(slow.map(({ banner }) => banner));
    await sleep(500);
    for (const worker of isLong ? [1, 2, 1] : [1, 2]) {
      const before = await mainPid(`postern-worker@${worker}`);
      await machine.ask('systemctl', 'restart', `postern-worker@${worker}`);
      assert.notEqual(await mainPid(`postern-worker@${worker}`), before);
      await sleep(500);
    }
    const sent = await load.end();
    reconcile(t, sent, smarthost, []);
    for (const { closed } of slow) assert.match(String((await closed)['closed']), /^421 /);
  });

  test('Shows 8: a worker killed under load: its listener takes connections all the same', async (t) => {
    const load = startLoad(network, 50);
    await sleep(500);
    for (let kill = 0; kill < count(2, 3); kill++) {
      const pid = await mainPid('postern-worker@1');
      await machine.ask('kill', '-KILL', String(pid));
      await until('a new worker 1', async () => ![0, pid].includes(await mainPid('postern-worker@1')), 60_000);
      await until('it is ready', () => isActive('postern-worker@1'), 60_000);
    }
    const sent = await load.end();
    // What it had accepted dies with it; the host hears no 250 and sends again.
    reconcile(t, sent, smarthost, ['ECONNRESET', 'closed']);
  });

  test('a worker that hangs is replaced within 3 s of silence, and interception goes on with the other', async () => {
    const pid = await mainPid('postern-worker@2');
    const at = performance.now();
    await machine.ask('kill', '-STOP', String(pid));
    await until('a new worker 2', async () => ![0, pid].includes(await mainPid('postern-worker@2')), 60_000);
    const tookMs = performance.now() - at;
    // Some 4 s on a machine with nothing else to do. One that is never replaced would show above.
    assert.ok(tookMs < 45_000, `took ${tookMs} ms`);
    await until('it is ready', () => isActive('postern-worker@2'), 60_000);
    const { stdout } = await machine.run('journalctl', '-b', '-o', 'cat', '-u', 'postern-guard');
    assert.doesNotMatch(stdout, /intercept\.lapsed/);
  });

  test('reloading the guard reloads every role; what was wrong in the file changes nothing', async () => {
    const reloads = async (event: string): Promise<string[]> => {
      const { stdout } = await machine.run('journalctl', '-b', '-o', 'cat', '-u', 'postern*');
      const lines = stdout.split('\n').filter((line) => line.startsWith('{') && line.includes(`"event":"${event}"`));
      return lines.map((line) => (JSON.parse(line) as { role: string }).role).sort();
    };
    const everybody = ['guard', 'keeper', 'worker 1', 'worker 2'];
    configure((text) => `${text}nonsense = 1\n`);
    const reload = await machine.run('systemctl', 'reload', 'postern-guard');
    assert.notEqual(reload.code, 0, 'whoever reloads is told');
    await until('refused by all', async () => new Set(await reloads('config.kept')).size === 4, 60_000);
    assert.deepEqual(await reloads('config.reloaded'), []);
    configure((text) => `${text}max_connections = 7\n`);
    await machine.ask('systemctl', 'reload', 'postern-guard');
    const taken = async (): Promise<string> => [...new Set(await reloads('config.reloaded'))].join();
    await until('taken by all', async () => (await taken()) === everybody.join(), 60_000);
    assert.match(await machine.ask('postern', 'status'), /customers .* 7 /);
    configure();
  });

  test('what is asked for in the panel is put on trial by systemd, if the configuration lets it, and goes back by itself', {
    timeout: 300_000,
  }, async () => {
    const panel = async (method: string, path: string, body?: object): Promise<{ ok?: boolean; text?: string }> => {
      const send = {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      };
      const program = `fetch('http://127.0.0.1:8025${path}', ${JSON.stringify(send)}).then(async (r) => console.log(await r.text()))`;
      return JSON.parse(await machine.ask('/usr/lib/postern/node', '-e', program)) as { ok?: boolean; text?: string };
    };
    const token = (await machine.ask('postern', 'user', 'token', 'changes', '--admin')).split('\n')[0] ?? '';
    const text = `${configText(smarthost.servers)}[panel]\napply = true\n`;
    const refused = (await panel('POST', '/api/config/apply', { text, for: '5m' })) as { error?: string };
    assert.match(refused.error ?? '', /panel\.apply is not set/);
    configure((given) => `${given}[panel]\napply = true\n`);
    await machine.ask('systemctl', 'reload', 'postern-guard');
    await until(
      'it may',
      async () => ((await panel('GET', '/api/config')) as { mayApply?: boolean }).mayApply === true,
      60_000,
    );
    const changed = text.replace('[panel]', 'max_connections = 9\n[panel]');
    const answer = await panel('POST', '/api/config/apply', { text: changed, for: '1h' });
    assert.deepEqual([answer.ok, /is in effect until/.test(answer.text ?? '')], [true, true], JSON.stringify(answer));
    await until('in effect', async () => /customers .* 9 /.test(await machine.ask('postern', 'status')), 60_000);
    assert.equal((await panel('POST', '/api/config/back')).ok, true);
    await until('back', async () => !/customers .* 9 /.test(await machine.ask('postern', 'status')), 60_000);
    // Who waits outlives the service.
    assert.equal((await panel('POST', '/api/config/apply', { text: changed, for: '2s' })).ok, true);
    await until(
      'back by itself',
      async () => readFileSync(machine.path('/etc/postern/postern.toml'), 'utf8') === text,
      60_000,
    );
    configure();
    await machine.ask('systemctl', 'reload', 'postern-guard');
  });

  test('the first egress = "preserve" is refused at a reload, and whoever reloads is told; with a restart it is there', async () => {
    const preserve = (text: string): string => `${text}egress = "preserve"\n`;
    const refusals = async (): Promise<number> => {
      const { stdout } = await machine.run('journalctl', '-b', '-o', 'cat', '-u', 'postern*', '-g', 'config.refused');
      return stdout.split('\n').filter((line) => line.startsWith('{')).length;
    };
    const before = await refusals();
    const kept = await machine.ask('cat', '/var/cache/postern/postern.toml');
    configure(preserve);
    const reload = await machine.run('systemctl', 'reload', 'postern-guard');
    assert.notEqual(reload.code, 0);
    const said = await machine.ask('journalctl', '-b', '-o', 'cat', '-u', 'postern*', '-g', 'needs a restart');
    const lines = said.split('\n');
    assert.ok(
      lines.includes(
        'egress = "preserve": the first network or subscriber to have it needs a restart; nothing was reloaded',
      ),
    );
    await until('refused by all', async () => (await refusals()) >= before + 4, 60_000);
    assert.equal(await machine.ask('cat', '/var/cache/postern/postern.toml'), kept);

    await machine.ask('systemctl', 'daemon-reload');
    await machine.ask('systemctl', 'restart', 'postern.target');
    await until(
      'intercepting',
      async () => /Intercepting: yes/.test((await machine.run('postern', 'status')).stdout),
      60_000,
    );
    const status = `/proc/${await mainPid('postern-worker@1')}/status`;
    assert.match(await machine.ask('grep', '-h', 'CapEff', status), /0000000000002000$/);
    await machine.ask('systemctl', 'reload', 'postern-guard');
    assert.match(await machine.ask('cat', '/var/cache/postern/postern.toml'), /preserve/);
    configure();
    await machine.ask('systemctl', 'reload', 'postern-guard');
  });

  test('the files of subscribers are kept beside the last one that was right, for the roles to read', async () => {
    const directory = machine.path('/etc/postern/subscribers');
    mkdirSync(directory);
    writeFileSync(join(directory, 'a.csv'), 'name,prefixes\nweb-1,198.51.100.7\n', { mode: 0o644 });
    configure((text) => `[subscribers]\ndirectory = "/etc/postern/subscribers"\n${text}`);
    await machine.ask('systemctl', 'reload', 'postern-guard');
    const copy = '/var/cache/postern/postern.toml.subscribers/a.csv';
    assert.equal(await machine.ask('stat', '-c', '%a %U %G', copy), '640 root postern');
    configure();
    await machine.ask('systemctl', 'reload', 'postern-guard');
    rmSync(directory, { recursive: true });
  });

  test('while the file is wrong, a role that has to start takes the last one that was right', async () => {
    configure((text) => text.slice(0, text.indexOf('servers')));
    for (const unit of ['postern-guard', 'postern-keeper', 'postern-worker@1']) {
      const pid = await mainPid(unit);
      await machine.ask('kill', '-KILL', String(pid));
      await until(`a new ${unit}`, async () => ![0, pid].includes(await mainPid(unit)), 60_000);
      await until('it is ready', () => isActive(unit), 60_000);
    }
    // Nobody can tell where its answer would go; it is taken away all the same.
    const wish = machine.path('/var/lib/postern/wish.json');
    writeFileSync(wish, '{}');
    await until('the wish is gone', () => Promise.resolve(!existsSync(wish)), 60_000);
    await until('not tried again', async () => !(await isActive('postern-apply')), 60_000);
    assert.ok(await isActive('postern-apply.path'));
    await until(
      'intercepting',
      async () =>
        /Workers: 2 of 2/.test(
          (await machine.run('postern', 'status', '--config', '/var/cache/postern/postern.toml')).stdout,
        ),
      60_000,
    );
    assert.match(
      await machine.ask('cat', '/var/cache/postern/postern.toml'),
      /^\[gateway\]/,
      'it is still the right one',
    );
    configure();
  });

  test('another number of workers and another port: daemon-reload and a restart, and mail flows', async () => {
    configure((text) => text.replace('workers = 2', 'workers = 3').replace('[intercept]', '[intercept]\nport = 2626'));
    await machine.ask('systemctl', 'daemon-reload');
    await machine.ask('systemctl', 'restart', 'postern.target');
    await until(
      'three workers',
      async () => /Workers: 3 of 3/.test((await machine.run('postern', 'status')).stdout),
      60_000,
    );
    await until(
      'intercepting',
      async () => /Intercepting: yes/.test((await machine.run('postern', 'status')).stdout),
      60_000,
    );
    const sent = await startLoad(network, 12).end();
    assert.deepEqual(
      sent.filter(({ outcome }) => !outcome.startsWith('250 ')),
      [],
    );
  });

  test('a configuration on trial stays when it is confirmed, and goes back by itself; after a restart the one before is in effect', async () => {
    const path = machine.path('/etc/postern/postern.toml');
    const first = readFileSync(path, 'utf8');
    const second = `${first}[[exempt_to]]\nprefixes = ["192.0.2.77/32"]\nreason = "tried"\n`;
    const write = (text: string): void => writeFileSync(machine.path('/etc/postern/new.toml'), text);
    const apply = (...args: string[]): Promise<string> => machine.ask('postern', 'apply', ...args);
    const waiting = (): Promise<string> =>
      machine.ask('systemctl', 'list-units', '--plain', '--no-legend', 'apply-postern-*');
    /** how often the keeper has taken a configuration */
    const taken = async (): Promise<number> =>
      (await machine.ask('journalctl', '-o', 'cat', '-u', 'postern-keeper')).split('"config.reloaded"').length;

    const before = await taken();
    write(second);
    await apply('/etc/postern/new.toml', '--confirm', '1h');
    assert.match(await waiting(), /^apply-postern-\S+\.service +loaded +active +running/);
    await until('it is taken', async () => (await taken()) === before + 1, 60_000);
    await apply('--confirmed');
    assert.equal(readFileSync(path, 'utf8'), second);
    await until('nobody waits any more', async () => (await waiting()) === '', 60_000);

    write(first);
    await apply('/etc/postern/new.toml', '--confirm', '2s');
    await until('taken, and the one before again', async () => (await taken()) === before + 3, 60_000);
    assert.equal(readFileSync(path, 'utf8'), second);

    await apply('/etc/postern/new.toml', '--confirm', '1h');
    assert.equal(readFileSync(path, 'utf8'), first);
    await machine.restart();
    assert.equal(readFileSync(path, 'utf8'), second);
    await until(
      'the rules of the one before',
      async () => (await machine.ask('sh', '-c', 'ipset save; iptables-save')).includes('192.0.2.77'),
      60_000,
    );
    assert.notEqual((await machine.run('postern', 'apply', '--confirmed')).code, 0, 'nothing is on trial');
  });

  test('stopped, the rules stand: hosts are refused, and nobody reaches the internet past us', async () => {
    await machine.ask('systemctl', 'stop', 'postern.target');
    const state = async (unit: string): Promise<string> =>
      (await machine.run('systemctl', 'is-active', unit)).stdout.trim();
    for (const unit of ['postern-guard', 'postern-keeper', 'postern-worker@1', 'postern-worker@1.socket'])
      await until(`${unit} has ended`, async () => (await state(unit)) === 'inactive', 60_000);
    assert.equal((await machine.run('postern', 'rules', '--verify')).stdout.trim(), 'The kernel is as planned.');
    // The dead-man's switch lapses 3 s after the guard's last word; until then connections find no listener.
    await until('refused', async () => (await outcomeOfOne(network)) === 'ECONNREFUSED', 60_000);
    // All that this file has sent went to a server that answers.
    assert.deepEqual(direct.lines, []);
  });

  test('at boot the rules are in force before the network is set up', async () => {
    const at = async (unit: string): Promise<number> =>
      Number(await machine.ask('systemctl', 'show', '-P', 'ActiveEnterTimestampMonotonic', unit));
    const [rules, network] = [await at('postern-rules.service'), await at('network-pre.target')];
    assert.ok(rules > 0 && rules <= network, `rules at ${rules}, network-pre.target at ${network}`);
  });

  const intercepting = async (): Promise<void> =>
    until(
      'intercepting',
      async () => /Intercepting: yes/.test((await machine.run('postern', 'status')).stdout),
      60_000,
    );

  test('Shows 2: a later package, and of a long run the earlier one again, put in under load of 50 messages a second: nothing is refused, nothing lost', {
    timeout: START_TIMEOUT_MS,
  }, async (t) => {
    configure();
    await machine.ask('systemctl', 'daemon-reload');
    await machine.ask('systemctl', 'start', 'postern.target');
    await intercepting();
    const later = await buildDeb({ out: machine.path('/'), quick: true, epochS: EPOCH_S + 60 });
    const units = ['postern-guard', 'postern-keeper', 'postern-worker@1', 'postern-worker@2'];
    const pids = (): Promise<number[]> => Promise.all(units.map(mainPid));
    const listeners = (): Promise<string> => machine.ask('ss', '-Htlne', 'sport = :2525');
    const [listened, rows] = [await listeners(), await attempts()];

    const load = startLoad(network, 50);
    // Each way takes as long as dpkg does; there and back is the same script.
    for (const { path, version } of isLong ? [later, machine.built] : [later]) {
      const before = await pids();
      const began = performance.now();
      await machine.ask('dpkg', '--force-unsafe-io', '-i', `/${basename(path)}`);
      t.diagnostic(`dpkg -i in ${Math.round(performance.now() - began)} ms`);
      assert.equal(await machine.ask('dpkg-query', '-Wf', '${Version}', 'postern'), version);
      assert.deepEqual(
        (await pids()).filter((pid) => pid === 0 || before.includes(pid)),
        [],
        'every role is of the new version',
      );
    }
    const sent = await load.end();
    // Who waits longer than a host would has another outcome; dpkg keeps the disk busy besides.
    reconcile(t, sent, smarthost, [], Infinity);
    assert.equal(await listeners(), listened, 'the very listeners');
    await until('every attempt is in the journal', async () => (await attempts()) >= rows + sent.length, 60_000);
  });

  async function attempts(): Promise<number> {
    const program = `const { DatabaseSync } = require('node:sqlite');
      const journal = new DatabaseSync('/var/lib/postern/journal.db', { readOnly: true, timeout: 10_000 });
      console.log(journal.prepare('SELECT count(*) AS n FROM attempts').get().n);`;
    return Number(await machine.ask('/usr/lib/postern/node', '-e', program));
  }

  test('Shows 2: purge is clean', { timeout: START_TIMEOUT_MS }, async () => {
    const purge = await machine.ask('dpkg', '--purge', 'postern');
    assert.doesNotMatch(purge, /not removed|warning/);
    const kernel = await machine.ask(
      'sh',
      '-ec',
      'iptables-save; ip6tables-save; ipset list -n; ip rule show protocol 25; ip -6 rule show protocol 25; ip route show table all protocol 25',
    );
    assert.doesNotMatch(kernel, /postern|prohibit|dport 25/i);
    const accounts = await machine.ask('sh', '-ec', 'cat /etc/passwd /etc/group /etc/shadow /etc/gshadow');
    assert.doesNotMatch(accounts, /postern/);
    assert.equal(await machine.ask('systemctl', 'list-units', '--plain', '--no-legend', 'postern*'), '');
    assert.equal((await machine.run('pgrep', '-u', 'postern-worker,postern-guard,postern-keeper')).stdout, '');
    assert.equal((await machine.run('sh', '-c', 'ls -d /run/postern* /run/systemd/generator*/postern*')).stdout, '');
    const left = (await pathsIn(machine.path('/'))).filter((path) => !machine.pathsBefore.includes(path));
    // What systemd and dpkg make by themselves.
    const others =
      /^(?:etc\/(?:machine-id|\.pwd\.lock|\.updated|(?:passwd|group|shadow|gshadow)-)|var\/\.updated|var\/lib\/(?:systemd|private|dpkg\/(?:status-old|lock|triggers|updates))|var\/cache\/(?:ldconfig|private))/;
    assert.deepEqual(
      left.filter((path) => !others.test(path) || path.includes('postern')),
      [],
    );
  });

  test('Shows 2: put into a running system it is safe until it is configured: port 25 is refused, all else is forwarded', {
    timeout: START_TIMEOUT_MS,
  }, async () => {
    const connect = async (port: number, v: 'v4' | 'v6'): Promise<number> =>
      (await network.inside.run('bash', ['-c', `exec 3<>/dev/tcp/${PLACES.direct[v]}/${port}`])).code;
    const before = direct.lines.filter(({ port }) => port === 25).length;
    await machine.ask('dpkg', '--force-unsafe-io', '-i', `/${basename(machine.built.path)}`);
    for (const v of ['v4', 'v6'] as const) {
      assert.notEqual(await connect(25, v), 0);
      assert.equal(await connect(587, v), 0);
    }
    assert.equal(await machine.ask('systemctl', 'is-active', 'postern-rules', 'postern.target'), 'active\nactive');
    assert.equal(await machine.ask('systemctl', 'list-units', '--failed', '--plain', '--no-legend'), '');
    assert.equal(await machine.ask('cat', '/etc/postern/postern.toml'), SHIPPED);
    assert.equal(direct.lines.filter(({ port }) => port === 25).length, before);

    // What the file says is to be done.
    configure();
    writeFileSync(machine.path('/etc/postern/smarthost.pem'), readFileSync(smarthost.caFile, 'utf8'));
    await machine.ask('systemctl', 'daemon-reload');
    await machine.ask('systemctl', 'restart', 'postern.target');
    await intercepting();
    assert.match(await outcomeOfOne(network), /^250 /);
  });
});

const SHIPPED = readFileSync(join(import.meta.dirname, '../../appliance/deb/postern.toml'), 'utf8').trim();

/** A host that says DATA and then nothing. */
function openSlowSession(client: Client): { banner: Promise<unknown>; closed: Promise<Line> } {
  const { id, outcome, closed } = client.open(`${PLACES.direct.v4} 25`);
  const banner = outcome.then(() => {
    const from = 'MAIL FROM:<slow@customer.example>';
    for (const line of ['EHLO slow.customer.example', from, 'RCPT TO:<someone@example.org>', 'DATA'])
      client.say(id, line);
  });
  return { banner, closed };
}

function startLoad(network: LabNetwork, least: number): { end: () => Promise<readonly Sent[]> } {
  const sources = PLACES.hosts.flatMap(({ v4, v6 }) => [v4, v6]);
  const args = [join(import.meta.dirname, 'load.ts'), String(least), PLACES.direct.v4, PLACES.direct.v6, ...sources];
  const child = network.inside.spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const said = child.stdout ? text(child.stdout) : Promise.resolve('[]');
  return {
    end: async () => {
      child.stdin?.end();
      await once(child, 'close');
      return JSON.parse(await said) as readonly Sent[];
    },
  };
}

async function outcomeOfOne(network: LabNetwork): Promise<string> {
  return (await startLoad(network, 1).end())[0]?.outcome ?? '';
}

/** What hosts were told against what arrived. `alsoFine`: outcomes besides a 250 and an orderly 421. */
function reconcile(
  t: TestContext,
  sent: readonly Sent[],
  smarthost: Smarthost,
  alsoFine: readonly string[],
  patienceMs = 5_000,
): void {
  const counts = new Map<string, number>();
  for (const { outcome } of sent) {
    const kind = outcome.replace(/^(\d{3} \S+).*/, '$1');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const worstMs = Math.max(...sent.map(({ waitedMs }) => waitedMs ?? 0));
  t.diagnostic(
    `${sent.length} sent: ${JSON.stringify(Object.fromEntries(counts))}, longest wait ${Math.round(worstMs)} ms`,
  );
  const isFine = (outcome: string): boolean => /^(250|421) /.test(outcome) || alsoFine.includes(outcome);
  assert.deepEqual(
    sent.filter(({ outcome }) => !isFine(outcome)),
    [],
  );
  // Or, on a machine that is busy, not so much longer than most of them.
  const waits = sent.map(({ waitedMs }) => waitedMs ?? 0).sort((a, b) => a - b);
  assert.ok(
    worstMs < Math.max(patienceMs, 50 * (waits[waits.length >> 1] ?? 0)),
    `somebody waited ${worstMs} ms for a banner`,
  );
  const accepted = sent.filter(({ outcome }) => outcome.startsWith('250 ')).map(({ id }) => `<${id}@customer.example>`);
  assert.ok(accepted.length > sent.length / 2, `${accepted.length} of ${sent.length} were accepted`);
  const arrived = smarthost.lines.map(({ messageId }) => messageId);
  assert.deepEqual(
    accepted.filter((id) => !arrived.includes(id)),
    [],
    'told 250, and not arrived',
  );
  assert.equal(new Set(arrived).size, arrived.length, 'nothing arrived twice');
}

function configText(servers: readonly string[]): string {
  return `[gateway]
name = "gw1.example.net"
workers = 2
drain = "2s"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ${JSON.stringify(servers)}
ca_file = "/etc/postern/smarthost.pem"
[[network]]
name = "customers"
prefixes = ["198.51.100.0/25", "2001:db8:1::/64"]
`;
}
