/**
 * No way round: whatever happens to processes and rules, no packet to port 25 comes out but the relay's own. Hosts of a
 * closed network and strangers knock all the while, over IPv4 and IPv6; a capture on the internet's side counts.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { startGateway, untilReady } from '../../src/lab/gateway.ts';
import { type Namespace, PLACES } from '../../src/lab/network.ts';
import { count, needsRoot } from '../kit/tier.ts';
import { type Inbox, inbox, until } from '../kit/wait.ts';
import { onLines, startWhole, type Whole } from '../kit/whole.ts';

const KNOCK = fileURLToPath(new URL('../kit/knock-main.ts', import.meta.url));
/** How long each state is looked at; the knocking goes on through all of them. */
const PHASE_MS = count(1200, 15_000);
/** Of each version in each state; on a busy machine a state is looked at until there were so many. */
const MIN_KNOCKS = PHASE_MS / 50;
/** 5 s on a machine with nothing else to do; a guard that does not look again never repairs. */
const REPAIR_MS = 60_000;
/** The guard reports its count each second. */
const COUNTED_MS = 5_000;
const TABLES = ['mangle', 'filter', 'nat', 'raw'];
const VERSIONS = ['v4', 'v6'] as const;

type Told = { readonly v4: number; readonly v6: number; readonly opened: number; readonly failed: readonly string[] };

class Knocker {
  readonly #child: ChildProcess;
  readonly #lines: Inbox<string> = inbox<string>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    onLines(child, this.#lines.put);
  }
  static async start(where: Namespace, orders: unknown): Promise<Knocker> {
    const child = where.spawn(process.execPath, [KNOCK, JSON.stringify(orders)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const knocker = new Knocker(child);
    assert.equal(await knocker.#lines.next(), 'ready');
    return knocker;
  }
  async told(): Promise<Told> {
    this.#child.stdin?.write('\n');
    return JSON.parse(await this.#lines.next()) as Told;
  }
}

describe('Shows 2: no way round', { skip: needsRoot }, () => {
  let whole: Whole;
  let knocker: Knocker;
  let controls: Knocker[];
  const leaked: string[] = [];

  before(async () => {
    whole = await startWhole();
    const { inside, internet } = whole.network;
    const capture = internet.spawn(
      'tcpdump',
      ['-i', 'eth0', '-n', '-l', '--immediate-mode', '-Q', 'in', 'tcp dst port 25'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    onLines(capture, (line) => leaked.push(line));
    await new Promise<void>((resolve) => {
      capture.stderr?.on('data', (chunk: Buffer) => chunk.includes('listening on') && resolve());
    });
    const [host, second] = PLACES.hosts;
    const knock = (to: string, from: string, everyMs: number, port = 25, must = false) => ({
      to,
      from,
      everyMs,
      port,
      must,
    });
    knocker = await Knocker.start(inside, {
      listen: VERSIONS.map((v) => `${second[v]} 25`),
      knocks: VERSIONS.flatMap((v) => [
        knock(PLACES.direct[v], host[v], 50),
        knock(PLACES.direct[v], PLACES.hosts[2][v], 50),
        knock(PLACES.direct[v], PLACES.stranger[v], 50),
      ]),
    });
    controls = [
      await Knocker.start(internet, {
        listen: VERSIONS.map((v) => `${PLACES.direct[v]} 587`),
        knocks: VERSIONS.map((v) => knock(second[v], PLACES.direct[v], 100, 25, true)),
      }),
      await Knocker.start(inside, {
        listen: [],
        knocks: VERSIONS.map((v) => knock(PLACES.direct[v], host[v], 100, 587, true)),
      }),
    ];
  });
  after(() => whole.close());

  /** Does something, lets the knocking go on a while, and looks at what came out. */
  async function phase(name: string, act: () => Promise<void> | void): Promise<Told> {
    await knocker.told();
    const begin = performance.now();
    await act();
    await pause(Math.max(0, PHASE_MS - (performance.now() - begin)));
    let told = await knocker.told();
    for (const end = begin + 60_000; VERSIONS.some((v) => told[v] < MIN_KNOCKS) && performance.now() < end; ) {
      await pause(100);
      const more = await knocker.told();
      told = { ...more, v4: told.v4 + more.v4, v6: told.v6 + more.v6, opened: told.opened + more.opened };
    }
    assert.deepEqual(leaked, [], `${name}: packets to port 25 on the internet's side`);
    for (const version of VERSIONS) {
      assert.ok(told[version] >= MIN_KNOCKS, `${name}: ${told[version]} knocks over IP${version}`);
    }
    for (const control of controls) assert.deepEqual((await control.told()).failed, [], `${name}: a control failed`);
    return told;
  }

  const kill = (title: string, signal: NodeJS.Signals): void => {
    const pid = whole.processes().get(title);
    assert.ok(pid, `${title} runs`);
    process.kill(pid, signal);
  };
  const workers = ['postern: worker 1', 'postern: worker 2'];
  const back = (): Promise<unknown> => untilReady(whole.gateway, AbortSignal.timeout(120_000));

  async function rules(): Promise<string> {
    const saved = await Promise.all(
      ['iptables-save', 'ip6tables-save'].map((command) => whole.network.gateway.run(command, [])),
    );
    return saved
      .flatMap(({ stdout }) => stdout.split('\n'))
      .filter((line) => line.startsWith('-A'))
      .join('\n');
  }
  async function flush(tables: readonly string[]): Promise<void> {
    for (const command of ['iptables', 'ip6tables']) {
      for (const table of tables) {
        await whole.network.gateway.run(command, ['-t', table, '-F']);
        await whole.network.gateway.run(command, ['-t', table, '-X']);
      }
    }
  }
  async function repairCount(): Promise<number> {
    const count = (await whole.gateway.status())?.kernel?.repaired;
    assert.ok(count !== undefined, 'the guard has reported');
    return count;
  }
  async function repaired(want: string): Promise<void> {
    const end = performance.now() + REPAIR_MS;
    while ((await rules()) !== want) {
      assert.ok(performance.now() < end, `not repaired within ${REPAIR_MS} ms`);
      await pause(100);
    }
  }

  test('Shows 2: while all runs', async () => {
    assert.ok((await phase('running', () => {})).opened > 0, 'customers are intercepted');
  });

  test('Shows 2: while the workers are restarted', async () => {
    await phase('restarting', async () => {
      for (const worker of workers) kill(worker, 'SIGTERM');
      await back();
    });
  });

  for (const worker of workers) {
    test(`Shows 2: ${worker.slice(9)} killed`, async () => {
      await phase(`${worker} killed`, () => kill(worker, 'SIGKILL'));
      await back();
    });
  }

  test('Shows 2: guard killed', async () => {
    const guards = (): number => readFileSync(whole.gateway.logPath, 'utf8').split('"event":"guard.ready"').length;
    const before = guards();
    await phase('guard killed', () => kill('postern: guard', 'SIGKILL'));
    // What it puts in place as it starts it does not count as repaired.
    await until(() => guards() > before, 'a new guard is ready');
    await back();
  });

  for (const tables of [['mangle'], ['filter'], TABLES]) {
    test(`Shows 2: ${tables.join(', ')} flushed by hand, and repaired within 5 s`, async () => {
      const want = await rules();
      assert.match(want, /TPROXY/);
      const repairs = await repairCount();
      await phase(`${tables.join()} flushed`, async () => {
        // The guard can be quicker than a look at the rules; its count, reported each second, says there was a repair. One that
        // has just started puts them right as it takes in what the keeper tells, which is no repair: then once more.
        for (let tries = 0; (await repairCount()) <= repairs; tries++) {
          assert.ok(tries < 12, 'no repair was counted');
          await flush(tables);
          await repaired(want);
          const end = performance.now() + COUNTED_MS;
          while ((await repairCount()) <= repairs && performance.now() < end) await pause(100);
        }
      });
      await back();
    });
  }

  test('Shows 2: rules replaced by a reload', async () => {
    const path = whole.gateway.configPath;
    const config = readFileSync(path, 'utf8');
    const changed = config.replace('[[network]]', '[[network]]\nrefuse = "drop"');
    for (const next of [changed, config]) {
      await phase('reloaded', async () => {
        const was = await rules();
        writeFileSync(path, next);
        process.kill(whole.gateway.pid, 'SIGHUP');
        const end = performance.now() + REPAIR_MS;
        while ((await rules()) === was && performance.now() < end) await pause(50);
        assert.notEqual(await rules(), was, 'the rules were replaced');
      });
    }
  });

  test('Shows 2: all killed, the rules alone', async () => {
    await phase('all killed', () => {
      for (const pid of [whole.gateway.pid, ...whole.processes().values()]) process.kill(pid, 'SIGKILL');
    });
    await until(() => whole.processes().size === 0, 'no process of the gateway is left');
    // The dead-man's switch has lapsed by now: what was intercepted is refused, and nothing comes out.
    await pause(3000);
    const told = await phase('lapsed', () => {});
    assert.equal(told.opened, 0);
  });

  test('Shows 2: started again over the rules that stand', async () => {
    const again = startGateway(whole.network.gateway, whole.directory, readFileSync(whole.gateway.configPath, 'utf8'));
    try {
      await phase('started again', async () => {
        await untilReady(again, AbortSignal.timeout(120_000));
      });
      assert.ok((await phase('running again', () => {})).opened > 0);
    } finally {
      // Without a process to repair them: the next test takes the rules away.
      for (const pid of [again.pid, ...whole.processes().values()]) process.kill(pid, 'SIGKILL');
      await again.ended;
    }
  });

  test('Shows 2: a planted leak is seen', async () => {
    await until(() => whole.processes().size === 0, 'no process of the gateway is left');
    await flush(TABLES);
    for (const family of ['-4', '-6']) {
      for (let i = 0; i < 20; i++) {
        const { stdout } = await whole.network.gateway.run('ip', [family, 'rule']);
        const prohibit = /^(\d+):.*dport 25.*prohibit/m.exec(stdout)?.[1];
        if (prohibit === undefined) break;
        await whole.network.gateway.run('ip', [family, 'rule', 'del', 'prio', prohibit]);
      }
    }
    await until(() => leaked.some((line) => line.startsWith('IP ') || line.includes(' IP ')), 'a packet over IPv4');
    await until(() => leaked.some((line) => line.includes('IP6 ')), 'a packet over IPv6');
  });
});
