/**
 * The real gateway and the real relay in this process, without kernel and keeper: hosts are in-memory streams with the
 * addresses a test gives them, the ledger is a literal, and what it was told is there to look at.
 */
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { parseConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { allFilters, closeFilters, filterThreads, makeFilters } from '../../src/filter/all.ts';
import type { AnyFilter } from '../../src/filter/filter.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { Counts, type Rooms } from '../../src/gateway/rooms.ts';
import { sendersOf } from '../../src/identity/senders.ts';
import { Descriptors } from '../../src/intercept/descriptors.ts';
import { openListener } from '../../src/kit/native-socket.ts';
import { connectTcp, TcpAcceptor } from '../../src/kit/tcp-open.ts';
import { type Clock, systemClock } from '../../src/kit/clock.ts';
import { type Log, silentLog } from '../../src/kit/log.ts';
import { Campaigns } from '../../src/ledger/campaigns.ts';
import type { BehaviourAnswer, Inquiry, InquiryAnswer } from '../../src/ledger/inquiry.ts';
import type { Admission, Ledger, Need, Taken } from '../../src/ledger/client.ts';
import type { Lock } from '../../src/ledger/language.ts';
import type { Attempt, WorkerEvent } from '../../src/record/events.ts';
import { tlsRules } from '../../src/policy/require.ts';
import type { Counters, Relay } from '../../src/relay/relay.ts';
import { Hourly } from '../../src/record/hourly.ts';
import { createPreserved } from '../../src/relay/preserve.ts';
import { createSmarthost, noCounts } from '../../src/relay/smarthost.ts';
import { HostTls } from '../../src/tls/host-tls.ts';
import type { Verifier } from '../../src/relay/verifier.ts';
import { SpoolBudget } from '../../src/wire/spool.ts';
import { freePort } from './worker.ts';

/** A ledger that answers what the test says and keeps what it is told. */
export class FakeLedger implements Ledger {
  admission: Admission = 'ok';
  locks: Lock[] = [];
  readonly events: WorkerEvent[] = [];
  readonly held = new Map<string, number>();
  readonly ready = Promise.resolve();
  #waiting: (() => void)[] = [];

  async admit(source: string): Promise<Admission> {
    if (this.admission === 'ok') this.held.set(source, (this.held.get(source) ?? 0) + 1);
    return this.admission;
  }
  /** the limits that are reached */
  readonly over = new Set<string>();
  /** by unit, what is taken and not given back */
  readonly taken = new Map<string, number>();

  take(needs: readonly Need[]): Taken {
    const over = needs.find(({ rule }) => this.over.has(rule.unit));
    if (over) return { over, retryMs: 90_000 };
    this.#count(needs, 1);
    return 'ok';
  }
  /** what the keeper has seen; campaigns it really compares */
  readonly campaigns = new Campaigns({ windowMs: 3_600_000, maxClusters: 10_000 });
  behaviour: Partial<BehaviourAnswer> = {};

  async inquire(inquiry: Inquiry): Promise<InquiryAnswer> {
    if (inquiry.of === 'campaign') return this.campaigns.ask(inquiry, performance.now());
    const none = { helos: 1, senderDomains: 0, recipients: 0, asked: 0, unknown: 0, isFirst: false };
    return { of: 'behaviour', ...none, ...this.behaviour };
  }
  giveBack(needs: readonly Need[]): void {
    this.#count(needs, -1);
  }
  #count(needs: readonly Need[], sign: 1 | -1): void {
    for (const { rule, count } of needs) this.taken.set(rule.unit, (this.taken.get(rule.unit) ?? 0) + sign * count);
  }
  release(source: string): void {
    this.held.set(source, (this.held.get(source) ?? 0) - 1);
  }
  lockOf(address: string): Lock | undefined {
    return this.locks.find((lock) => lock.identity === undefined && lock.subject.split('/')[0] === address);
  }
  modeOf(): undefined {}
  lockOfIdentity(identity: string): Lock | undefined {
    return this.locks.find((lock) => lock.identity === identity);
  }
  /** `SUBJECT SERVER` of hosts that have refused our certificate */
  readonly verifying = new Set<string>();
  /** from where servers were called for what is carried unread; undefined is this machine */
  readonly calledFrom: (string | undefined)[] = [];

  /** every server had TLS not long ago */
  secured = false;

  hadTls(): boolean {
    return this.secured;
  }
  isVerifying(subject: string, server: string): boolean {
    return this.verifying.has(`${subject} ${server}`);
  }
  record(event: WorkerEvent): void {
    this.events.push(event);
    for (const wake of this.#waiting.splice(0)) wake();
  }
  isUp(): boolean {
    return true;
  }
  configure(): void {}
  async close(): Promise<void> {}

  get attempts(): Attempt[] {
    return this.events.filter((event): event is Attempt => event.kind === 'attempt');
  }

  /** Resolves when so many attempts were recorded. */
  async recorded(count: number): Promise<Attempt[]> {
    while (this.attempts.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.attempts;
  }
}

export type TestGateway = {
  readonly gateway: Gateway;
  readonly ledger: FakeLedger;
  readonly rooms: Rooms;
  /** of all sessions with egress "preserve" */
  readonly farCounters: Counters;
  /** A host that has just connected; both ends of its connection are as given. */
  connect(from?: string, to?: string): Duplex;
  /** A port of 127.0.0.1 where hosts of 198.51.100.10 come in by TCP, as they do in a worker. */
  listen(): Promise<number>;
  close(): Promise<void>;
};

/** A configuration from the lines of each table that differ; `servers` are the smarthosts. */
export async function testConfig(
  servers: readonly string[],
  tables: Readonly<Record<string, string>> = {},
): Promise<Config> {
  const { smarthost: more = '' } = tables;
  const tls = /^tls = /m.test(more) ? '' : 'tls = "none"';
  const smarthost = `servers = [${servers.map((s) => `"${s}"`).join(', ')}]\n${tls}\n${more}`;
  const network = `name = "customers"\nprefixes = ["198.51.100.0/24", "2001:db8:1::/48"]\n${tables['network'] ?? ''}`;
  const text = [
    `[gateway]\nname = "gw1.example.net"\nhelp_url = "https://help.example/"\nworkers = 1\n${tables['gateway'] ?? ''}`,
    `[intercept]\ninside = ["lan0"]\n`,
    `[smarthost]\n${smarthost}`,
    `[tls]\n${tables['tls'] ?? ''}`,
    `[limits]\n${tables['limits'] ?? ''}`,
    `[filters]\n${tables['filters'] ?? ''}`,
    `[reports]\n${tables['reports'] ?? ''}`,
    `[[network]]\n${network}`,
    tables['more'] ?? '',
  ].join('\n');
  const loaded = await parseConfig(text, 'test.toml');
  if (!loaded.ok) throw new Error(loaded.errors.map((error) => error.message).join('\n'));
  return loaded.config;
}

export type TestGatewayOptions = {
  readonly config: Config;
  /** in place of the product's */
  readonly filters?: readonly AnyFilter[];
  readonly relay?: Relay;
  /** what hosts are shown after STARTTLS; by default nothing can be */
  readonly tls?: HostTls;
  /** on loopback, in place of the server that a host with egress "preserve" calls */
  readonly originalPort?: number;
  /** of the servers that hosts call */
  readonly verifier?: Verifier;
  readonly log?: Log;
  readonly descriptorLimit?: number;
  readonly clock?: Clock;
  /** in place of the fake one */
  readonly ledger?: Ledger;
};

export async function startGateway(options: TestGatewayOptions): Promise<TestGateway> {
  const { config, log = silentLog, clock = systemClock } = options;
  const relay = options.relay ?? createSmarthost(config, { log, clock, workerCount: config.gateway.workers });
  const ledger = new FakeLedger();
  const counts = new Counts();
  const threads = filterThreads(config);
  const inquire = (inquiry: Inquiry): Promise<InquiryAnswer> => ledger.inquire(inquiry);
  const spoolDir = mkdtempSync(join(tmpdir(), 'postern-spool-'));
  const farCounters = noCounts();
  const rooms: Rooms = {
    worker: 1,
    config,
    senders: sendersOf(config),
    relay,
    tlsRules: tlsRules(config.tls.requireFrom, config.tls.requireTo),
    tls: options.tls ?? new HostTls({ issuerPath: join(spoolDir, 'none'), clock, log }),
    farSession({ source, destination: address, destinationPort: port }, now) {
      const known = { verifier: options.verifier, hadTls: ledger.secured };
      return createPreserved(source, { address, port }, now, farCounters, known, (signal) =>
        connectTcp('127.0.0.1', options.originalPort ?? 0, signal),
      );
    },
    verifier: options.verifier,
    farCall: (source, _to, signal) => {
      ledger.calledFrom.push(source);
      return connectTcp('127.0.0.1', options.originalPort ?? 0, signal);
    },
    ledger: options.ledger ?? ledger,
    budget: new SpoolBudget(config.limits.bodyTotal),
    spoolDir,
    descriptors: new Descriptors(() => counts.open + counts.preserved + counts.opaque, options.descriptorLimit),
    filters: makeFilters(
      config,
      { log, clock, threads, inquire },
      options.filters?.map((filter) => () => filter) ?? allFilters,
    ),
    threads,
    inquire,
    log,
    clock,
    counts,
    quoted: new Hourly(),
    heldBack: 0,
    draining: false,
  };
  const gateway = new Gateway(rooms);
  await relay.start();
  let port = 10_000;
  const listeners: TcpAcceptor[] = [];
  const fds: number[] = [];
  return {
    gateway,
    ledger,
    rooms,
    farCounters,
    connect(from = '198.51.100.10', to = '203.0.113.25') {
      const [host, ours] = duplexPair();
      // A host that is destroyed resets its connection; in memory nothing would tell.
      host.once('close', () => {
        if (!ours.writableFinished) ours.destroy(new Error('read ECONNRESET'));
      });
      gateway.accept(ours, { source: from, sourcePort: port++, destination: to, destinationPort: 25 });
      return host;
    },
    async listen() {
      const at = await freePort();
      const tcp = { transparent: false, reusePort: false, backlog: 512 } as const;
      const fd = openListener({ family: 4, address: '127.0.0.1', port: at, ...tcp });
      fds.push(fd);
      const acceptor = new TcpAcceptor(fd, 512, ({ socket }) =>
        gateway.accept(socket, {
          source: '198.51.100.10',
          sourcePort: port++,
          destination: '203.0.113.25',
          destinationPort: 25,
        }),
      );
      acceptor.resume();
      listeners.push(acceptor);
      return at;
    },
    async close() {
      for (const listener of listeners) listener.pause();
      for (const fd of fds) closeSync(fd);
      await gateway.drain(0);
      await relay.close();
      await threads.close();
      closeFilters(rooms.filters);
      rmSync(spoolDir, { recursive: true, force: true });
    },
  };
}
