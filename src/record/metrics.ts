/**
 * What Prometheus is told. Every label value comes from the configuration or from a closed list, never from what came
 * in over the network: whatever hosts do, the number of series is bounded.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { classes } from '../policy/classes.ts';
import type { Complained } from '../policy/feedback.ts';
import { TLS_CAUSES, TLS_POLICIES, TLS_RESULTS, type TlsPolicy, type TlsResult } from '../policy/tls.ts';
import type { Attempt, ServiceReport, SessionCounts, TlsCounts } from './events.ts';
import type { JournalState } from './query.ts';

/** What of the guard's report the metrics are made of; a rebuilt rule set starts its counters again. */
export type KernelCounts = {
  readonly inside: readonly { readonly interface: string; readonly present: boolean }[];
  readonly repaired: number;
  readonly refused: readonly { readonly network: string; readonly reason: string; readonly packets: number }[];
};

/** Asked when Prometheus asks. */
export type Sources = {
  readonly version: string;
  readonly intercepting: () => boolean;
  readonly locks: () => number;
  /** hosts that are remembered to verify, each with a server */
  readonly verifying: () => number;
  /** lines for syslog that were lost */
  readonly syslogDropped: () => number;
  /** events that no webhook took */
  readonly webhookDropped: () => number;
  /** our own mails that the smarthost took, that were given up, and refusals of such that came back */
  readonly reports: () => { readonly sent: number; readonly dropped: number; readonly looped: number };
  readonly journal: () => JournalState;
  /** when our own certificates end; undefined where there is none */
  readonly certificates: () => { readonly authority: number | undefined; readonly issuer: number | undefined };
  /** refused reloads, by role */
  readonly configErrors: () => Readonly<Record<'keeper' | 'guard', number>>;
};

export type ServiceState = {
  readonly service: ServiceReport['name'];
  readonly up: number;
  readonly of: number;
  /** in ms since 1970 */
  readonly definitionsAt: number | undefined;
};

/** Stands for a network or reason that the configuration does not know (any more). */
const OTHER = 'other';
const UNROUTED = 'unrouted';
const REASONS = new Set([
  'unrouted',
  'locked',
  'block',
  'smarthost-only',
  'rate',
  'fence',
  'dead',
  'output',
  'direct',
  'loop',
]);
/** Of a leg: `trusted` is in clear, over a link that the operator vouches for. */
const CLEAR = 'clear';
const TRUSTED = 'trusted';
const LEGS = new Set([CLEAR, TRUSTED, 'TLSv1.2', 'TLSv1.3']);
/** `unused`: of those that came about, those after which the host said nothing but QUIT. */
const HANDSHAKES = new Set(['done', 'resumed', 'unused', ...TLS_CAUSES]);
const RELAY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const VERDICT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type MessageLabels = Record<'network' | 'verdict' | 'class', string>;

export class Metrics {
  readonly #registry = new Registry();
  readonly #workers = new Map<number, SessionCounts>();
  readonly #kernelBefore = new Map<string, number>();
  /** counted since the last scrape: what prom-client makes of labels at each step costs more than all the rest here */
  readonly #counted = new Map<string, { readonly labels: MessageLabels; count: number }>();
  #networks: ReadonlySet<string> = new Set();
  #servers: readonly string[] = [];
  #interfaces: readonly string[] = [];
  #present: ReadonlyMap<string, boolean> = new Map();

  readonly #sessions: Counter<'network'>;
  readonly #messages: Counter<keyof MessageLabels>;
  readonly #refused: Counter<'network' | 'reason'>;
  readonly #repaired: Counter;
  readonly #eventsDropped: Counter;
  readonly #faults: Counter;
  readonly #repeated: Counter;
  readonly #possibleDuplicates: Counter;
  readonly #tlsMessages: Counter<'in' | 'out'>;
  readonly #upgraded: Counter;
  readonly #downgrades: Counter;
  readonly #handshakes: Counter<'how'>;
  readonly #verified: Counter<'policy' | 'result'>;
  readonly #opaque: Counter<'network'>;
  readonly #opaqueBytes: Counter<'network'>;
  readonly #complaints: Counter<'type' | 'found'>;
  readonly #serviceCalls: Counter<'service' | 'outcome'>;
  readonly #serviceSeconds: Counter<'service'>;
  readonly #relay: Histogram;
  readonly #verdict: Histogram;

  constructor(sources: Sources) {
    const registers = [this.#registry];
    const counter = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> =>
      new Counter({ name, help, labelNames, registers });
    /** A counter or gauge whose value is asked for at each scrape. */
    const asked = (type: 'counter' | 'gauge', name: string, help: string, value: () => number): void => {
      if (type === 'gauge') {
        const gauge: Gauge = new Gauge({ name, help, registers, collect: () => gauge.set(value()) });
        return;
      }
      const of: Counter = new Counter({
        name,
        help,
        registers,
        collect: () => {
          of.reset();
          of.inc(value());
        },
      });
    };

    this.#sessions = counter('postern_sessions_total', 'SMTP sessions opened by hosts.', ['network']);
    asked('gauge', 'postern_sessions_open', 'SMTP sessions open now, over all workers.', () => this.sessionsOpen());
    asked(
      'gauge',
      'postern_preserved_connections',
      "Connections to servers from hosts' own addresses, over all workers.",
      () => this.#sum(({ preserved }) => preserved),
    );
    this.#messages = counter('postern_messages_total', 'Attempts to send a message, by how they ended and why.', [
      'network',
      'verdict',
      'class',
    ]);
    this.#refused = counter(
      'postern_refused_connections_total',
      'Connections that the kernel refused before a worker saw them.',
      ['network', 'reason'],
    );
    const up = new Gauge({
      name: 'postern_upstream_up',
      help: 'Whether at least one worker can hand mail to this server.',
      labelNames: ['server'],
      registers,
      collect: () => {
        up.reset();
        // A server that nobody has spoken of yet is neither up nor down.
        for (const { server, up: workers, of } of this.upstream()) if (of > 0) up.set({ server }, workers > 0 ? 1 : 0);
      },
    });
    this.#relay = new Histogram({
      name: 'postern_relay_seconds',
      help: 'From our verdict to the final reply of the next server.',
      buckets: RELAY_BUCKETS,
      registers,
    });
    this.#verdict = new Histogram({
      name: 'postern_verdict_seconds',
      help: 'From the end of a message to our verdict: the time that the filters took.',
      buckets: VERDICT_BUCKETS,
      registers,
    });
    this.#faults = counter(
      'postern_relay_faults_total',
      'Connections to the next server that broke or answered wrongly while a message used them.',
    );
    this.#repeated = counter(
      'postern_envelopes_repeated_total',
      'Envelopes said again on another connection: the host was slow, or a connection failed.',
    );
    this.#possibleDuplicates = counter(
      'postern_possible_duplicates_total',
      'Messages whose connection failed between the final dot and its answer: the host sends them again.',
    );
    this.#serviceCalls = counter(
      'postern_service_calls_total',
      'Messages that a filter gave to a service, or would have: answered, failed, or skipped while it is left alone.',
      ['service', 'outcome'],
    );
    this.#serviceSeconds = counter('postern_service_seconds_total', 'Time that these took together.', ['service']);
    const serviceUp = new Gauge({
      name: 'postern_service_up',
      help: 'Whether every worker asks this service: 0 while one leaves it alone after failures.',
      labelNames: ['service'],
      registers,
      collect: () => {
        serviceUp.reset();
        for (const { service, up, of } of this.services()) serviceUp.set({ service }, up === of ? 1 : 0);
      },
    });
    const age = new Gauge({
      name: 'postern_definitions_age_seconds',
      help: 'Age of what a scanner knows of: since its daily definitions were made.',
      labelNames: ['service'],
      registers,
      collect: () => {
        age.reset();
        for (const { service, definitionsAt: made } of this.services())
          if (made !== undefined) age.set({ service }, Math.round((Date.now() - made) / 1000));
      },
    });
    asked(
      'gauge',
      'postern_intercept_alive',
      'Whether connections are being intercepted: the switch in the kernel is fed.',
      () => (sources.intercepting() ? 1 : 0),
    );
    const interfaces = new Gauge({
      name: 'postern_interface_present',
      help: 'Whether this interface of intercept.inside exists: what comes in elsewhere is not intercepted.',
      labelNames: ['interface'],
      registers,
      collect: () => {
        interfaces.reset();
        // One that the guard has not spoken of yet is neither there nor missing.
        for (const name of this.#interfaces) {
          const present = this.#present.get(name);
          if (present !== undefined) interfaces.set({ interface: name }, present ? 1 : 0);
        }
      },
    });
    this.#repaired = counter(
      'postern_rules_repaired_total',
      'Times the kernel rules differed from the plan and were put right.',
    );
    this.#tlsMessages = counter(
      'postern_tls_messages_total',
      'Messages and envelopes that a server answered, by the TLS of the leg they came in on and of the leg they went out on.',
      ['in', 'out'],
    );
    this.#upgraded = counter(
      'postern_tls_upgraded_total',
      'Of these, those that came in clear and went out encrypted.',
    );
    this.#downgrades = counter(
      'postern_tls_downgrades_total',
      'Of these, those that came in encrypted and went out in clear, though nobody vouches for the link.',
    );
    this.#handshakes = counter('postern_tls_handshakes_total', 'TLS handshakes of hosts, by how they ended.', ['how']);
    for (const how of HANDSHAKES) this.#handshakes.inc({ how }, 0);
    this.#verified = counter(
      'postern_tls_verified_total',
      "Recipients whose server was looked at, by what the domain's policy is and how the server was found to be.",
      ['policy', 'result'],
    );
    asked('gauge', 'postern_tls_certificate_kept', 'Reloads at which workers kept the certificate they had.', () =>
      this.#tlsOf(({ kept }) => kept),
    );
    this.#eventsDropped = counter(
      'postern_events_dropped_total',
      'Records that workers dropped because the keeper was away.',
    );
    asked('gauge', 'postern_workers_connected', 'Workers that the keeper hears from.', () => this.#workers.size);
    asked('gauge', 'postern_locks', 'Locks in force.', sources.locks);
    asked(
      'gauge',
      'postern_verifying_pairs',
      'Hosts that did not accept our certificate, each with the server that it called.',
      sources.verifying,
    );
    asked('gauge', 'postern_opaque_connections', 'Connections that are carried unread now, over all workers.', () =>
      this.#sum(({ opaque }) => opaque),
    );
    this.#opaque = counter('postern_opaque_total', 'Connections that were carried unread.', ['network']);
    this.#opaqueBytes = counter('postern_opaque_bytes_total', 'Octets that were carried unread, both ways.', [
      'network',
    ]);

    asked('counter', 'postern_journal_rows_total', 'Attempts written to the journal.', () => sources.journal().written);
    asked('counter', 'postern_syslog_dropped_total', 'lines that the syslog server did not get', sources.syslogDropped);
    asked(
      'counter',
      'postern_reports_sent_total',
      'mails of our own that the smarthost took',
      () => sources.reports().sent,
    );
    asked(
      'counter',
      'postern_reports_dropped_total',
      'mails of our own that were given up, and refusals that nobody will hear of',
      () => sources.reports().dropped,
    );
    asked(
      'counter',
      'postern_reports_looped_total',
      'refused messages that were reports of ours',
      () => sources.reports().looped,
    );
    this.#complaints = counter(
      'postern_complaints_total',
      'Complaints that came in, and whether their message was found.',
      ['type', 'found'],
    );
    asked('counter', 'postern_webhook_dropped_total', 'events that a webhook did not take', sources.webhookDropped);
    asked(
      'counter',
      'postern_journal_dropped_total',
      'Attempts that the journal lost, because the disk was full or failed.',
      () => sources.journal().dropped,
    );
    asked('gauge', 'postern_journal_waiting', 'Attempts that wait to be written.', () => sources.journal().waiting);
    asked('gauge', 'postern_journal_ok', 'Whether the journal can be written.', () => (sources.journal().ok ? 1 : 0));
    asked('gauge', 'postern_journal_size_bytes', 'Size of the journal on disk.', () => sources.journal().sizeBytes);

    const ends = new Gauge({
      name: 'postern_certificate_expiry_timestamp_seconds',
      help: 'When a certificate of our own ends, in seconds since 1970.',
      labelNames: ['certificate'],
      registers,
      collect: () => {
        ends.reset();
        for (const [certificate, atMs] of Object.entries(sources.certificates()))
          if (atMs !== undefined) ends.set({ certificate }, Math.floor(atMs / 1000));
        // All workers read the same file; one that could not keeps what it had.
        const own = [...this.#workers.values()].flatMap(({ tls }) => tls?.endsAt ?? []);
        if (own.length > 0) ends.set({ certificate: 'operator' }, Math.floor(Math.min(...own) / 1000));
      },
    });
    const configErrors = new Counter({
      name: 'postern_config_errors_total',
      help: 'Reloads refused because the configuration was not valid; the one before stayed in effect.',
      labelNames: ['role'],
      registers,
      collect: () => {
        configErrors.reset();
        for (const [role, count] of Object.entries(sources.configErrors())) configErrors.inc({ role }, count);
      },
    });
    new Gauge({
      name: 'postern_build_info',
      help: 'Version of Postern and of Node; always 1.',
      labelNames: ['version', 'node'],
      registers,
    }).set({ version: sources.version, node: process.versions.node }, 1);
    new Gauge({
      name: 'postern_start_time_seconds',
      help: 'When the keeper started, in seconds since 1970.',
      registers,
    }).set(Math.round(Date.now() / 1000 - process.uptime()));
  }

  /** Which networks, servers and interfaces may be labels; at the start and after a reload. */
  configure(networks: readonly string[], servers: readonly string[], interfaces: readonly string[]): void {
    this.#networks = new Set(networks);
    this.#servers = servers;
    this.#interfaces = interfaces;
    for (const network of networks) {
      this.#sessions.inc({ network }, 0);
      this.#opaque.inc({ network }, 0);
    }
  }

  complaint(type: Complained, isFound: boolean): void {
    this.#complaints.inc({ type, found: isFound ? 'yes' : 'no' });
  }

  attempt(attempt: Attempt): void {
    const network = this.#network(attempt.network);
    // A class is a label only because the table of classes is closed; the socket's check has seen to it.
    if (!Object.hasOwn(classes, attempt.class)) return;
    this.#count(network, attempt);
    // How it was verified stands behind the version.
    const [farLeg] = attempt.upstreamTls?.split(' ') ?? [];
    if (farLeg !== undefined) this.#legs(attempt.tls?.version ?? CLEAR, farLeg);
    if (attempt.class === 'tls.opaque') {
      this.#opaque.inc({ network });
      this.#opaqueBytes.inc({ network }, attempt.sizeBytes);
    }
    if (attempt.verdictMs !== undefined) this.#verdict.observe(attempt.verdictMs / 1000);
    if (attempt.relayMs !== undefined) this.#relay.observe(attempt.relayMs / 1000);
  }

  /** Counted from what was recorded, not where it is decided: what is wrong there shows here. */
  #legs(from: string, to: string): void {
    const known = (leg: string): string => (LEGS.has(leg) ? leg : OTHER);
    this.#tlsMessages.inc({ in: known(from), out: known(to) });
    if (from === CLEAR && to !== CLEAR && to !== TRUSTED) this.#upgraded.inc();
    if (from !== CLEAR && to === CLEAR) this.#downgrades.inc();
  }

  #tlsOf(value: (tls: TlsCounts) => number): number {
    let sum = 0;
    for (const { tls } of this.#workers.values()) if (tls) sum += value(tls);
    return sum;
  }

  sessions(counts: SessionCounts): void {
    for (const [network, opened] of Object.entries(counts.opened)) {
      this.#sessions.inc({ network: this.#network(network) }, opened);
    }
    if (counts.dropped > 0) this.#eventsDropped.inc(counts.dropped);
    if (counts.relay) {
      this.#faults.inc(counts.relay.faults);
      this.#repeated.inc(counts.relay.repeated);
      this.#possibleDuplicates.inc(counts.relay.possibleDuplicates);
    }
    for (const [how, count] of Object.entries(counts.tls?.handshakes ?? {}))
      this.#handshakes.inc({ how: HANDSHAKES.has(how) ? how : OTHER }, count);
    for (const [key, count] of Object.entries(counts.tls?.verified ?? {})) {
      const [policy, result] = key.split(' ') as [TlsPolicy, TlsResult];
      if (TLS_POLICIES.includes(policy) && TLS_RESULTS.includes(result)) this.#verified.inc({ policy, result }, count);
    }
    for (const { name: service, answered, failed, skipped, ms } of counts.services ?? []) {
      for (const [outcome, count] of Object.entries({ answered, failed, skipped }))
        this.#serviceCalls.inc({ service, outcome }, count);
      this.#serviceSeconds.inc({ service }, ms / 1000);
    }
    this.#workers.set(counts.worker, counts);
  }

  /** Each service that a worker asks: how many workers do, of those that would; and the oldest definitions. */
  services(): readonly ServiceState[] {
    const all = [...this.#workers.values()].flatMap(({ services }) => services ?? []);
    return [...Map.groupBy(all, ({ name }) => name)].map(([service, reports]) => {
      const made = reports.flatMap(({ definitionsAt }) => definitionsAt ?? []);
      return {
        service,
        up: reports.filter(({ up }) => up).length,
        of: reports.length,
        definitionsAt: made.length > 0 ? Math.min(...made) : undefined,
      };
    });
  }

  /** A worker's connection ended: nothing of it is open any more. */
  workerGone(worker: number): void {
    this.#workers.delete(worker);
  }

  kernel(counts: KernelCounts): void {
    this.#present = new Map(counts.inside.map((one) => [one.interface, one.present]));
    this.#repaired.inc(this.#growth('repaired', counts.repaired));
    for (const { network, reason, packets } of counts.refused) {
      const labels = { network: this.#network(network), reason: REASONS.has(reason) ? reason : OTHER };
      this.#refused.inc(labels, this.#growth(`${network} ${reason}`, packets));
    }
  }

  sessionsOpen(): number {
    return this.#sum(({ open }) => open);
  }

  #sum(of: (counts: SessionCounts) => number): number {
    let sum = 0;
    for (const counts of this.#workers.values()) sum += of(counts);
    return sum;
  }

  /** Each configured server: how many workers see it up, of those that have spoken of it. */
  upstream(): readonly {
    readonly server: string;
    readonly up: number;
    readonly of: number;
    readonly connections: number;
    readonly reason: string | undefined;
  }[] {
    const seen = [...this.#workers.values()].flatMap((counts) => counts.upstream);
    return this.#servers.map((server) => {
      const states = seen.filter((one) => one.server === server);
      return {
        server,
        up: states.filter((one) => one.up).length,
        of: states.length,
        connections: states.reduce((sum, one) => sum + one.connections, 0),
        reason: states.find((one) => !one.up)?.reason,
      };
    });
  }

  /** What workers last said, by worker. */
  get workers(): ReadonlyMap<number, SessionCounts> {
    return this.#workers;
  }

  /** The text of /metrics. */
  render(): Promise<string> {
    for (const { labels, count } of this.#counted.values()) this.#messages.inc(labels, count);
    this.#counted.clear();
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #count(network: string, { verdict, class: of }: Attempt): void {
    const key = `${network} ${verdict} ${of}`;
    const counted = this.#counted.get(key);
    if (counted) counted.count++;
    else this.#counted.set(key, { labels: { network, verdict, class: of }, count: 1 });
  }

  #network(name: string): string {
    return this.#networks.has(name) || name === UNROUTED ? name : OTHER;
  }

  /** How much a counter has grown since it was last seen; one that has become smaller was started again. */
  #growth(key: string, value: number): number {
    const before = this.#kernelBefore.get(key) ?? 0;
    this.#kernelBefore.set(key, value);
    return value >= before ? value - before : value;
  }
}
