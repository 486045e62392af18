/**
 * The lab of the guard's tests: a network with an agent in each part, a stand-in for the workers that takes what TPROXY
 * hands over, and the real `postern guard`. No mail: here it only matters where a connection ends up.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Counted, Counters } from '../../src/guard/counters.ts';
import { parseSets, parseTables } from '../../src/guard/kernel-text.ts';
import { runPaths } from '../../src/kit/run-dir.ts';
import { userOf } from '../../src/kit/users.ts';
import { createNetwork, type LabNetwork, PLACES, type Ran } from '../../src/lab/network.ts';
import { Agent } from './agent.ts';
import { shownToAll } from './checkout.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const PORT = 2525;

/** A source of each network of `everyMode`, and one of none. */
export const SOURCES = {
  customers: { v4: '198.51.100.10', v6: '2001:db8:1::10' },
  trial: { v4: '198.51.100.20', v6: '2001:db8:1:20::1' },
  own: { v4: '198.51.100.30', v6: '2001:db8:1:30::1' },
  submission: { v4: '198.51.100.40', v6: '2001:db8:1:40::1' },
  printers: { v4: '198.51.100.50', v6: '2001:db8:1:50::1' },
  unrouted: { v4: '198.51.100.200', v6: '2001:db8:1:1::200' },
} as const;
export type Source = keyof typeof SOURCES;

/** The server on the internet, and one that nobody's connections to are intercepted. */
export const SERVER = PLACES.direct;
export const EXEMPT_SERVER = { v4: '203.0.113.99', v6: '2001:db8:2::99' } as const;
export const VERSIONS = ['v4', 'v6'] as const;

const network = (name: string, of: Source, v4: string, rest: string): string =>
  `[[network]]\nname = "${name}"\nprefixes = ["${v4}", "${SOURCES[of].v6.replace(/::.*/, '::/64')}"]\n${rest}\n`;

/** Each mode, each way to fail and to refuse. */
export const everyMode = [
  network('customers', 'customers', '198.51.100.8/29', 'mode = "enforce"'),
  network('trial', 'trial', '198.51.100.20/32', 'mode = "observe"\nfail = "open"'),
  network('own', 'own', '198.51.100.30/32', 'mode = "exempt"'),
  network('submission', 'submission', '198.51.100.40/32', 'mode = "smarthost-only"'),
  network('printers', 'printers', '198.51.100.50/32', 'mode = "block"\nrefuse = "drop"'),
].join('');

/** The lines of a process, and a way to wait for one. */
export class Lines {
  readonly all: string[] = [];
  #waiting: { readonly fits: (line: string) => boolean; readonly resolve: (line: string) => void }[] = [];

  constructor(stream: Readable | null) {
    if (!stream) return;
    stream.on('error', () => {});
    createInterface(stream).on('line', (line) => {
      this.all.push(line);
      const now = this.#waiting.filter(({ fits }) => fits(line));
      this.#waiting = this.#waiting.filter((waiting) => !now.includes(waiting));
      for (const { resolve } of now) resolve(line);
    });
  }

  /** The first line that fits, of those since the last `forget` or still to come. */
  async next(fits: (line: string) => boolean, timeoutMs: number): Promise<string> {
    const there = this.all.find((line) => fits(line));
    if (there !== undefined) return there;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`nothing like it came in ${timeoutMs} ms: ${String(fits)}`)),
        timeoutMs,
      );
      this.#waiting.push({
        fits,
        resolve: (line) => {
          clearTimeout(timer);
          resolve(line);
        },
      });
    });
  }

  forget(): void {
    this.all.length = 0;
  }
}

export type LogLine = { readonly event: string; readonly [key: string]: unknown };

export type GuardProcess = {
  readonly child: ChildProcess;
  readonly lines: Lines;
  /** The first line with this event since the last `lines.forget()`, or to come. */
  readonly logged: (event: string, timeoutMs?: number) => Promise<LogLine>;
  /** what it tells its supervisor */
  readonly told: Lines;
  /** what its supervisor tells it */
  readonly tell: (line: string) => void;
  /** Resolves with the exit status. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | string>;
};

export class GuardLab {
  readonly network: LabNetwork;
  readonly directory: string;
  readonly inside: Agent;
  readonly gateway: Agent;
  readonly internet: Agent;
  readonly #counters = new Counters();
  #refused: ReadonlyMap<string, number> = new Map();

  private constructor(network: LabNetwork, directory: string, agents: readonly [Agent, Agent, Agent]) {
    this.network = network;
    this.directory = directory;
    [this.inside, this.gateway, this.internet] = agents;
  }

  static async create(): Promise<GuardLab> {
    const hosts = Object.values(SOURCES).flatMap(({ v4, v6 }) => [v4, v6]);
    const placed: readonly string[] = [...PLACES.hosts, PLACES.stranger].flatMap(({ v4, v6 }) => [v4, v6]);
    const made = await createNetwork({
      hosts: hosts.filter((address) => !placed.includes(address)),
      servers: Object.values(EXEMPT_SERVER),
    });
    const [inside, gateway, internet] = await Promise.all([
      Agent.start(made.inside),
      Agent.start(made.gateway),
      Agent.start(made.internet),
    ]);
    const directory = mkdtempSync(join(tmpdir(), 'postern-guard-'));
    // the guard's user reads the configuration there
    chmodSync(directory, 0o755);
    const lab = new GuardLab(made, directory, [inside, gateway, internet]);
    for (const any of ['0.0.0.0', '::']) await gateway.listen(any, PORT, 'gateway', true);
    for (const v of VERSIONS) {
      for (const server of [SERVER, EXEMPT_SERVER]) {
        for (const port of [25, 587, PORT]) await internet.listen(server[v], port, 'internet');
      }
      for (const source of Object.values(SOURCES)) await inside.listen(source[v], 25, 'inside');
    }
    return lab;
  }

  get configPath(): string {
    return join(this.directory, 'postern.toml');
  }

  /** Writes the configuration: `networks` and whatever else of [intercept] there is. */
  configure(networks: string, intercept = ''): void {
    writeFileSync(
      this.configPath,
      `[gateway]\nname = "gw1.example.net"\nrun_dir = "${this.directory}"\nworkers = 2\n` +
        `[intercept]\ninside = ["lan0"]\n${intercept}\n` +
        `[smarthost]\nservers = ["192.0.2.25:587"]\n${networks}`,
    );
  }

  /** `postern NAME ARGS` in the gateway. */
  postern(...args: readonly string[]): Promise<Ran> {
    return this.network.gateway.run(process.execPath, [MAIN, ...args, '--config', this.configPath], {
      env: { POSTERN_DEBUG: '1' },
    });
  }

  /** Puts the rules in as the boot unit does. */
  async applyRules(): Promise<void> {
    must(await this.postern('guard', '--rules-only'));
  }

  /** A command in the gateway that must succeed; its output. */
  async sh(script: string): Promise<string> {
    return must(await this.network.gateway.run('sh', ['-ec', script])).stdout;
  }

  /** Does what the guard does while workers answer, once and for long, or makes the switch lapse. */
  async setAlive(alive: boolean): Promise<void> {
    await this.sh(alive ? 'ipset add postern-alive 25 timeout 2000000 -exist' : 'ipset flush postern-alive');
  }

  /** Listeners for the probes of both workers. */
  async startProbes(): Promise<void> {
    for (const worker of [1, 2]) await this.gateway.probe(runPaths(this.directory).probe(worker));
  }

  /** Do the workers answer from now on? Both, or the one that is named. */
  async answerProbes(answer: boolean, workers: readonly number[] = [1, 2]): Promise<void> {
    for (const worker of workers) await this.gateway.answerProbe(runPaths(this.directory).probe(worker), answer);
  }

  /** The real guard as its own user, with the capabilities it has in operation; ready when this resolves. */
  async startGuard(): Promise<GuardProcess> {
    const { uid } = userOf('guard');
    const capabilities = '-all,+net_admin,+net_raw';
    const args = [
      'setpriv',
      ...['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--no-new-privs'],
      ...['--inh-caps', capabilities, '--ambient-caps', capabilities, '--bounding-set', capabilities],
      ...[process.execPath, MAIN, 'guard', '--config', this.configPath],
    ];
    const child = this.network.gateway.spawn('env', shownToAll(args), {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
      env: { ...process.env, POSTERN_SUPERVISOR_FD: '3' },
    });
    const lines = new Lines(child.stdout);
    const pipe = child.stdio[3] as Socket;
    const told = new Lines(pipe);
    const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
    const guard: GuardProcess = {
      child,
      lines,
      told,
      logged: async (event, timeoutMs = 60_000) =>
        JSON.parse(await lines.next((line) => line.includes(`"event":"${event}"`), timeoutMs)) as LogLine,
      tell: (line) => void pipe.write(`${line}\n`),
      end: (signal) => {
        child.kill(signal);
        return exited;
      },
    };
    await Promise.race([
      guard.logged('guard.ready'),
      exited.then((how) => Promise.reject(new Error(`the guard has ended with ${how}`))),
    ]);
    return guard;
  }

  /** What the kernel has counted, as the guard reports it. */
  async counted(): Promise<Counted> {
    const [v4, v6, sets] = await Promise.all(
      ['iptables-save -c', 'ip6tables-save -c', 'ipset save'].map((c) => this.sh(c)),
    );
    const family = (text = '') => ({ tables: parseTables(text), rules: [], routes: [] });
    return this.#counters.read({
      sysctls: new Map(),
      families: new Map([
        [4, family(v4)],
        [6, family(v6)],
      ]),
      sets: parseSets(sets ?? ''),
    });
  }

  /** Packets refused since this was last asked, as `network reason`, without the zeros. */
  async refused(): Promise<Readonly<Record<string, number>>> {
    const { refused } = await this.counted();
    const before = this.#refused;
    this.#refused = new Map(refused.map(({ network, reason, packets }) => [`${network} ${reason}`, packets]));
    const more = [...this.#refused].map(([what, packets]) => [what, packets - (before.get(what) ?? 0)] as const);
    return Object.fromEntries(more.filter(([, packets]) => packets > 0));
  }

  /** What is sent to port 25 on the internet's side from now on. */
  async capture(): Promise<Capture> {
    return Capture.start(this);
  }

  async destroy(): Promise<void> {
    for (const agent of [this.inside, this.gateway, this.internet]) agent.kill();
    await this.network.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * Every packet to port 25 that reaches the internet's side of the gateway. A connection to port 587, seen in the same
 * capture, proves that the capture runs, and that all that came before it has been seen.
 */
export class Capture {
  readonly #lab: GuardLab;
  readonly #child: ChildProcess;
  readonly #lines: Lines;
  #marker = 20_000;

  private constructor(lab: GuardLab, child: ChildProcess) {
    this.#lab = lab;
    this.#child = child;
    this.#lines = new Lines(child.stdout);
  }

  static async start(lab: GuardLab): Promise<Capture> {
    const filter = 'tcp and (dst port 25 or dst port 587)';
    const args = ['-i', 'eth0', '-Q', 'in', '-nn', '-l', '-q', '--immediate-mode', filter];
    const child = lab.network.internet.spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const capture = new Capture(lab, child);
    await new Lines(child.stderr).next((line) => line.includes('listening on'), 10_000);
    await capture.packets();
    return capture;
  }

  /** The packets to port 25 so far. */
  async packets(): Promise<readonly string[]> {
    // tcpdump says that it listens a moment before it does, so the first marker may go unseen.
    for (let tries = 0; ; tries++) {
      const fromPort = this.#marker++;
      await this.#lab.inside.connect(SERVER.v4, 587, { fromPort });
      try {
        await this.#lines.next((line) => line.includes(`.${fromPort} > `), 1_000);
        return this.#lines.all.filter((line) => /\.25: /.test(line));
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

/** The command that must have succeeded. */
export function must(ran: Ran): Ran {
  if (ran.code !== 0) throw new Error(`ended with ${ran.code}: ${ran.stderr || ran.stdout}`);
  return ran;
}
