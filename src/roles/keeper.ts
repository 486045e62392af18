/**
 * The keeper: counts, locks, journal, metrics. No capability; it reads no mail and touches no kernel.
 *
 * Workers and guard come to its socket and go on without it when it is away; the same socket answers the CLI.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { prefixesOfName } from '../config/effective.ts';
import { createReloader } from '../config/reload.ts';
import type { Origins } from '../config/read.ts';
import type { Config } from '../config/schema.ts';
import { effectiveFor } from '../identity/effective.ts';
import { sendersOf } from '../identity/senders.ts';
import { type Clock, systemClock } from '../kit/clock.ts';
import { parsePrefix, type Prefix } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { type Log, stdoutLog } from '../kit/log.ts';
import { runPaths } from '../kit/run-dir.ts';
import { endText } from '../kit/sockaddr.ts';
import { Behaviours } from '../ledger/behaviours.ts';
import { Campaigns, type CampaignSettings } from '../ledger/campaigns.ts';
import { type Desk, type Held, openDesk } from '../ledger/desk.ts';
import type { Inquiry, InquiryAnswer } from '../ledger/inquiry.ts';
import type { KernelReport, Question, Who } from '../ledger/language.ts';
import { CounterFile } from '../ledger/counterfile.ts';
import { OverNotices } from '../ledger/notices.ts';
import { Quotas } from '../ledger/quotas.ts';
import { Secured } from '../ledger/secured.ts';
import { Sightings } from '../ledger/sightings.ts';
import { Verifying } from '../ledger/verifying.ts';
import type { Attempt, WorkerEvent } from '../record/events.ts';
import { type Exporter, startExporter } from '../record/exporter.ts';
import { type Journal, openJournal } from '../record/journal.ts';
import { writeLine } from '../record/lines.ts';
import { Metrics } from '../record/metrics.ts';
import { type Keeping, Privacy } from '../record/privacy.ts';
import type { HistoryQuestion, ReceiversQuestion } from '../record/query.ts';
import { Audit } from '../panel/audit.ts';
import { type Panel, startPanel } from '../panel/panel.ts';
import { People } from '../panel/people.ts';
import { type Seen, statusOf } from './keeper-status.ts';
import { Authority } from '../tls/authority.ts';
import { type KeeperComplaints, keeperComplaints } from './keeper-complaints.ts';
import { keeperLocks, subjectOfAttempt } from './keeper-locks.ts';
import { keeperReports, type Whose } from './keeper-reports.ts';
import { keeperSteps } from './keeper-steps.ts';
import { whose } from './keeper-whose.ts';
import { whoWas } from './keeper-who.ts';
import { answerTo, searchOf } from './keeper-answers.ts';
import { keeperSyslog } from './keeper-syslog.ts';
import { keeperWebhooks } from './keeper-webhooks.ts';
import { keeperConfig } from './keeper-config.ts';
import { Listings } from './keeper-listings.ts';
import { keeperLine } from './keeper-line.ts';
import { tenantRooms } from './keeper-tenant.ts';
import { notify } from './notify.ts';
import { loadAtStart } from './start-config.ts';

const TIDY_MS = 1_000;
const TEND_MS = 60_000;
/** how long the socket and its connections may take to close */
const CLOSE_TIMEOUT_MS = 2_000;

const { version: VERSION } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Runs until SIGTERM or SIGINT; resolves with the exit status. */
export async function keeper(configPath: string): Promise<number> {
  process.title = 'postern: keeper';
  // What is made here is for the keeper alone; its socket says itself who may connect.
  process.umask(0o077);
  // Each attempt is told of, however many there are.
  const log = stdoutLog('keeper', ['attempt']);
  // Names, certificates and the password are the workers' to look at.
  const loaded = await loadAtStart(configPath, log);
  if (!loaded.ok) {
    for (const error of loaded.errors) process.stderr.write(`${error.message}\n`);
    return 1;
  }
  const running = await startKeeper(loaded.config, {
    ...{ log, clock: systemClock, configErrors: () => reload.errors },
    origins: { lines: loaded.origins, file: configPath },
  });
  const reload = createReloader(configPath, loaded.config, log, (config, lines) => running.apply(config, lines));
  process.on('SIGHUP', () => void reload());
  const watchdog = notify.ready();
  log.write('info', 'keeper.ready', { pid: process.pid, metrics: loaded.config.metrics.listen.text });

  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  notify.stopping();
  await running.close();
  clearInterval(watchdog);
  log.write('info', 'keeper.stopped');
  return 0;
}

export type KeeperOptions = {
  readonly log: Log;
  readonly clock: Clock;
  /** refused reloads */
  readonly configErrors: () => number;
  /** where each setting stands; without it none is said to stand in the file */
  readonly origins?: { readonly lines: Origins; readonly file: string };
};

export type RunningKeeper = {
  /** Takes a new configuration into effect. */
  readonly apply: (config: Config, origins?: Origins) => void;
  /** Ends the connections, writes what waits, closes the journal. */
  readonly close: () => Promise<void>;
  readonly metricsPort: () => number | undefined;
  readonly panelPort: () => number | undefined;
  /** where complaints are taken by mail */
  readonly complaintsPort: () => number | undefined;
};

/** Rejects when another keeper listens already. */
export async function startKeeper(first: Config, options: KeeperOptions): Promise<RunningKeeper> {
  const { log, clock } = options;
  const { stateDir, runDir } = first.gateway;
  let config = first;
  let { lines: origins, file } = options.origins ?? { lines: new Map() as Origins, file: '' };
  let seen: Seen | undefined;
  const startedAt = clock.nowMs();
  const startedMs = clock.monotonicMs();

  const webhooks = keeperWebhooks(config, { clock, log });
  const { locks, history, ...lockKeeping } = keeperLocks(
    stateDir,
    () => config,
    clock,
    log,
    (event) => {
      webhooks.tell('lock', event);
      reports.locked(event);
    },
  );
  const {
    steps,
    history: stepHistory,
    ...stepKeeping
  } = keeperSteps(
    stateDir,
    () => config,
    clock,
    log,
    (event) => webhooks.tell('step', event),
  );
  const limits = new CounterFile(join(stateDir, 'counters.jsonl'), log, clock.nowMs());
  const quotas = new Quotas(join(stateDir, 'quotas.jsonl'), log);
  const notices = new OverNotices(log, (reached) => webhooks.tell('limit', reached));
  const listings = new Listings(clock, log, (listing) => webhooks.tell('listing', listing));
  const secured = new Secured(clock, (told) => desk.tellSecured(told));
  const verifying = new Verifying(join(stateDir, 'verifying.json'), clock, log, (told) => desk.tellVerifying(told));
  const sightings = new Sightings(join(stateDir, 'sightings.json'), log, prefixesOf(config));
  const privacy = new Privacy(join(stateDir, 'privacy.key'), log);
  const authority = new Authority({
    path: join(stateDir, 'ca.pem'),
    issuerPath: runPaths(runDir).issuer,
    gatewayName: first.gateway.name,
    clock,
    log,
  });
  const people = new People(join(stateDir, 'people.json'), clock, log);
  const audit = new Audit(join(stateDir, 'audit.jsonl'), clock);
  let panel: Pick<Panel, 'seen' | 'port' | 'close'> = {
    seen() {},
    port: () => undefined,
    close: () => Promise.resolve(),
  };
  const syslog = keeperSyslog(config, log);
  const reports = keeperReports({
    ...{ config: () => config, clock, log, version: VERSION },
    hand: (mail) => desk.mail(mail),
    whoIs: (subject) => ownerOf(subject, config),
    sums: (question) => journal.sums(question),
    stateDir,
  });
  const journal: Journal = openJournal(join(stateDir, 'journal.db'), retentionOf(config), log);
  const metrics = new Metrics({
    version: VERSION,
    intercepting: () => status().intercepting,
    locks: () => locks.list().length,
    verifying: () => verifying.size,
    journal: () => journal.state(),
    syslogDropped: () => syslog.dropped(),
    webhookDropped: () => webhooks.dropped(),
    reports: () => reports.counts(),
    certificates: () => authority.endsMs,
    configErrors: () => ({ keeper: options.configErrors(), guard: seen?.report.configErrors ?? 0 }),
  });
  let keeping = keepingOf(config);
  metrics.configure(...labelsOf(config));

  const campaigns = new Campaigns(campaignSettings(config));
  const behaviours = new Behaviours(config.filters.behaviour.window, clock.monotonicMs());
  const inform = (inquiry: Inquiry): InquiryAnswer =>
    inquiry.of === 'campaign'
      ? campaigns.ask(inquiry, clock.monotonicMs())
      : behaviours.ask(inquiry.subscriber, inquiry.helo, clock.monotonicMs());

  const onEvents = (worker: number, batch: readonly WorkerEvent[]): void => {
    const attempts = [];
    for (const event of batch) {
      if (event.kind === 'sessions') {
        metrics.sessions({ ...event, worker });
        continue;
      }
      if (event.kind === 'copy') {
        reports.hold(event);
        continue;
      }
      metrics.attempt(event);
      sightings.saw(event.source, event.at);
      if (config.filters.behaviour.enabled)
        behaviours.attempt(subjectOfAttempt(event, config), event, clock.monotonicMs());
      if (lockKeeping.seen(event)) desk.tellLocks();
      noteVerifying(event);
      const { egress, upstream, upstreamTls } = event;
      if (egress === 'preserve' && upstream !== undefined && upstreamTls?.startsWith('TLS'))
        secured.saw(upstream, config.preserve.tlsRemembered);
      if (stepKeeping.seen(event)) desk.tellSteps();
      quotas.seen(event, subjectOfAttempt(event, config));
      const attempt = privacy.apply(event, keeping(event));
      reports.seen(event, subjectOfAttempt(event, config), attempt);
      attempts.push(attempt);
      listings.seen(event, attempt.upstreamReply);
      if (config.journal.lines === 'stdout') writeLine(log, attempt);
    }
    if (attempts.length === 0) return;
    journal.append(attempts);
    panel.seen(attempts);
    syslog.take(attempts);
    if (webhooks.wants('refused'))
      for (const attempt of attempts) if (attempt.verdict !== 'accept') webhooks.tell('refused', attempt);
  };
  /** Who refused our certificate is remembered, and who only pretended to is not. */
  const noteVerifying = (attempt: Attempt): void => {
    const { class: of, destination: address, destinationPort: port, sizeBytes } = attempt;
    if (of !== 'tls.client-refused' && of !== 'tls.opaque' && of !== 'tls.clear') return;
    const pair = { subject: subjectOfAttempt(attempt, config), server: endText({ address, port }) };
    if (of === 'tls.client-refused') verifying.remember(pair, config.tls.verifyingFor);
    else if (of === 'tls.opaque') verifying.carried(pair, sizeBytes);
    else verifying.forget(pair);
  };
  const onKernel = (report: KernelReport): void => {
    seen = { report, atMs: clock.monotonicMs() };
    metrics.kernel(report);
  };

  /** `held` has to be asked for; who wants to know whether all is well does without. */
  const status = (held: Held = { connections: 0, sources: 0 }): ReturnType<typeof statusOf> =>
    statusOf({
      version: VERSION,
      config,
      startedAt,
      uptimeMs: clock.monotonicMs() - startedMs,
      nowMs: clock.nowMs(),
      kernel: seen,
      kernelAgeMs: seen && clock.monotonicMs() - seen.atMs,
      workers: desk.workers(),
      metrics,
      held,
      locks: locks.list().length,
      verifying: verifying.size,
      lastSeenAt: (prefix) => sightings.lastAt(prefix),
      steps: steps.list(),
      journal: journal.state(),
      configErrors: options.configErrors() + (seen?.report.configErrors ?? 0),
    });
  const answerOf =
    (from: 'cli' | 'panel') =>
    (question: Question): Promise<unknown> =>
      answerTo(
        question,
        {
          config: () => config,
          ...{ status, desk, clock, log, journal, privacy, people, audit, authority, verifying, quotas },
          ...{ locks, lockHistory: history, steps, stepHistory, stepKeeping },
          ...{ complaints: () => complaints, whoAt },
        },
        from,
      );
  const whoAt = (address: string, atMs: number): Promise<Who> =>
    whoWas(address, atMs, {
      search: (filter) => journal.search(searchOf(filter, privacy)),
      whoIs: (of) => sendersOf(config).find(of),
    });
  const sender = async (address: string): Promise<object | undefined> => {
    const effective = effectiveFor(address, config, origins, file);
    if (!effective) return undefined;
    const locked = locks.list().filter(({ subject }) => isAbout(subject, address, effective.subject));
    const now = whose(address, { clock, steps: { steps, ...stepKeeping }, locks, quotas });
    return { address, ...effective, ...now, counts: await desk.counted(effective.subject), locks: locked };
  };

  const life = new AbortController();
  const path = runPaths(runDir).keeperListen;
  // The supervisor has made it, with the right owner; a keeper that is started by hand may be the first.
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  let desk: Desk;
  try {
    desk = await openDesk(
      {
        path,
        log,
        nowMs: () => clock.nowMs(),
        locks: () => locks.list(),
        secured: () => secured.list(),
        verifying: () => verifying.list().map(({ subject, server, until }) => ({ subject, server, until })),
        steps: () => steps.list(),
        limits,
        quotas,
        onOver: (need) => notices.over(need, config.limits.noticeEvery),
        onEvents,
        onWorkerGone: (worker) => metrics.workerGone(worker),
        onKernel,
        onMailed: (sent) => reports.mailed(sent),
        inform,
        answer: answerOf('cli'),
      },
      life.signal,
    );
  } catch (error) {
    limits.close();
    await journal.close();
    throw error;
  }
  const exporter: Exporter = startExporter({
    host: config.metrics.listen.host,
    port: config.metrics.listen.port,
    contentType: metrics.contentType,
    render: () => metrics.render(),
    problem: () => status().problem,
    log,
  });
  const complaints: KeeperComplaints = keeperComplaints({
    ...{ stateDir, config: () => config, clock, log, who: whoAt },
    search: (filter) => journal.search(searchOf(filter, privacy)),
    counted(attempt, of) {
      const bad = { ...attempt, class: of, wouldBe: undefined };
      if (lockKeeping.seen(bad)) desk.tellLocks();
      if (stepKeeping.seen(bad)) desk.tellSteps();
    },
    metric: (type, isFound) => metrics.complaint(type, isFound),
  });
  const { host, port } = config.panel.listen;
  const proxies = (): PrefixMap<true> => new PrefixMap(config.panel.proxies.map((prefix) => [prefix, true]));
  const rooms = {
    ...{ ask: answerOf('panel'), sender, history: (question: HistoryQuestion) => journal.history(question) },
    ...{
      audited: (limit: number) => audit.last(limit),
      receivers: (question: ReceiversQuestion) => journal.receivers(question),
      listings: () => listings.list(),
      line: keeperLine({
        ...{ config: () => config, clock, locks, history, steps: stepKeeping, journal },
        tell: () => desk.tellLocks(),
      }),
      config: keeperConfig({ config: () => config, origins: () => origins, file, clock }),
      nowMs: () => clock.nowMs(),
    },
  };
  try {
    panel = await startPanel({
      ...{ host, port, version: VERSION, rooms, people, audit, clock, log },
      isProxy: (address) => proxies().find(address) === true,
      roomsOf: tenantRooms(rooms, () => config),
    });
  } catch (error) {
    // Mail does not depend on being looked at.
    log.write('error', 'panel.failed', { error: String(error) });
  }
  const timers = [
    setInterval(() => {
      if (locks.tidy()) desk.tellLocks();
      if (steps.tidy()) desk.tellSteps();
      limits.tidy(clock.nowMs());
      quotas.write();
      verifying.tidy();
      reports.tend();
    }, TIDY_MS),
    setInterval(() => {
      authority.tend();
      sightings.write();
    }, TEND_MS),
  ];

  return {
    metricsPort: exporter.port,
    panelPort: () => panel.port(),
    complaintsPort: () => complaints.port(),
    apply(next, lines = origins) {
      config = next;
      origins = lines;
      campaigns.settings = campaignSettings(next);
      behaviours.windowMs = next.filters.behaviour.window;
      keeping = keepingOf(next);
      lockKeeping.configure();
      stepKeeping.configure();
      metrics.configure(...labelsOf(next));
      sightings.configure(prefixesOf(next));
      journal.keep(retentionOf(next));
      syslog.configure(next);
      webhooks.configure(next);
      reports.configure();
      complaints.configure();
    },
    async close() {
      for (const timer of timers) clearInterval(timer);
      await complaints.close();
      life.abort();
      // What workers have said already is heard to its end; then it is written.
      await Promise.race([desk.closed, new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref())]);
      quotas.write();
      limits.close();
      verifying.write();
      sightings.write();
      await journal.close();
      await exporter.close();
      await panel.close();
      await syslog.close();
      webhooks.close();
      reports.close();
    },
  };
}

/** To whom belongs what is locked; undefined: to nobody who is configured. */
function ownerOf(subject: string, config: Config): Whose | undefined {
  const [, tenant] = /^tenant:(.+)$/.exec(subject) ?? [];
  if (tenant !== undefined) return { network: '', subscriber: undefined, tenant };
  const [prefix] = subject.startsWith('@') ? prefixesOfName(config, subject) : [parsePrefix(subject)];
  const sender = prefix && sendersOf(config).find(prefix.text.split('/')[0] ?? '');
  return sender && { network: sender.network.name, subscriber: sender.subscriber?.name };
}

/** A lock of its address, of a prefix around it, or of whom it belongs to. */
function isAbout(subject: string, address: string, own: string): boolean {
  const prefix = parsePrefix(subject);
  return prefix ? new PrefixMap([[prefix, true]]).find(address) === true : subject === own;
}

function prefixesOf({ network }: Config): Prefix[] {
  return network.flatMap(({ prefixes }) => prefixes);
}

function retentionOf({ journal }: Config): { readonly keepMs: number; readonly maxSizeBytes: number } {
  return { keepMs: journal.keep, maxSizeBytes: journal.maxSize };
}

function labelsOf(config: Config): [networks: string[], servers: string[], interfaces: readonly string[]] {
  const { network, smarthost, intercept } = config;
  return [network.map(({ name }) => name), smarthost.servers.map(({ text }) => text), intercept.inside];
}

/** How much of an attempt is kept. One that is in no network is treated as the strictest says. */
function keepingOf(config: Config): (attempt: Attempt) => Keeping {
  const bySubscriber = new Map(config.subscriber.flatMap(({ name, log }) => (log ? [[name, log] as const] : [])));
  const byName = new Map(config.network.map(({ name, log }) => [name, log]));
  const all = [...byName.values()];
  const strictest = (['none', 'hash'] as const).find((one) => all.includes(one)) ?? 'full';
  return ({ network, subscriber }) =>
    (subscriber === undefined ? undefined : bySubscriber.get(subscriber)) ?? byName.get(network) ?? strictest;
}

function campaignSettings({ filters: { campaign } }: Config): CampaignSettings {
  return { windowMs: campaign.window, maxClusters: campaign.maxClusters };
}
