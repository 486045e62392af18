/**
 * The worker: sessions, filters, relay. No capability, no database, no kernel: it holds sockets and the message.
 *
 * Ready once the listeners are adopted. It begins to accept when a smarthost has answered and the keeper has told the
 * locks, or a second has passed.
 */
import type { Config } from '../config/schema.ts';
import { checkKeyPair, fileState, type Outside } from '../config/outside.ts';
import { createReloader } from '../config/reload.ts';
import { closeFilters, filterThreads, makeFilters } from '../filter/all.ts';
import { Gateway } from '../gateway/gateway.ts';
import { sendOwn } from '../gateway/own-mail.ts';
import { sessionReport } from '../gateway/report.ts';
import { Counts, type Rooms } from '../gateway/rooms.ts';
import { sendersOf } from '../identity/senders.ts';
import { arrivalOf } from '../intercept/arrival.ts';
import { Descriptors } from '../intercept/descriptors.ts';
import { adoptListeners, type Listeners } from '../intercept/listen.ts';
import { systemClock } from '../kit/clock.ts';
import { stdoutLog } from '../kit/log.ts';
import { runPaths } from '../kit/run-dir.ts';
import { endText } from '../kit/sockaddr.ts';
import { createLedger } from '../ledger/client.ts';
import { type TlsRules, tlsRules } from '../policy/require.ts';
import { callOriginal } from '../relay/original.ts';
import { createPreserved } from '../relay/preserve.ts';
import type { Counters } from '../relay/relay.ts';
import { createSmarthost, noCounts, type SmarthostDeps } from '../relay/smarthost.ts';
import { HostTls, type KeyPair } from '../tls/host-tls.ts';
import { Hourly } from '../record/hourly.ts';
import { createVerifier } from '../relay/verifier.ts';
import { SpoolBudget } from '../wire/spool.ts';
import { notify } from './notify.ts';
import { warnUnlessInMemory } from './spool-place.ts';
import { loadAtStart } from './start-config.ts';

/**
 * What a worker looks at besides the text: it must start while no name resolves; the password and the certificate it has
 * to be able to read. A certificate that has ended is no reason not to start.
 */
const OUTSIDE: Outside = { file: fileState, keyPair: (certificate, key) => checkKeyPair(certificate, key) };
const FIRST_CONTACT_MS = 1000;
const REFRESH_MS = 2000;
const REPORT_MS = 1000;
/** How long a connection may wait in the listener of a worker that drains. */
const MAX_WAIT_MS = 3000;
const LAST_QUIT_MS = 1000;

/** Runs until SIGTERM; resolves with the exit status. */
export async function worker(configPath: string, index: number): Promise<number> {
  const log = stdoutLog(`worker ${index}`);
  // Listened for from the first moment: whoever is told to end has a drain, and not a death in the middle of an accept.
  const told = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
  const loaded = await loadAtStart(configPath, log, OUTSIDE);
  if (!loaded.ok) {
    for (const error of loaded.errors) process.stderr.write(`${error.message}\n`);
    return 1;
  }
  const abort = new AbortController();
  const egress: Egress = { log, clock: systemClock, counters: noCounts() };
  const rooms = makeRooms(loaded.config, index, egress, abort.signal);
  const gateway = new Gateway(rooms);
  void warnUnlessInMemory(rooms.spoolDir, log);

  // The first host after a start is neither told that nothing was reached yet, nor let past a lock.
  await Promise.race([Promise.all([rooms.relay.start(), rooms.ledger.ready]), after(FIRST_CONTACT_MS)]);
  // The keeper makes it before it listens.
  rooms.tls.refresh();
  const listeners = adoptListeners({
    host: ({ socket, remote, local }) => gateway.accept(socket, arrivalOf(remote, local)),
    probe: (socket) => gateway.probe(socket),
    failed(error) {
      log.write('error', 'worker.no-listener', { error: error.message });
      process.exit(1);
    },
  });
  const counts = sessionReport(rooms);
  const report = setInterval(() => rooms.ledger.record(counts()), REPORT_MS);
  const watchdog = notify.ready();
  const refresh = setInterval(() => rooms.tls.refresh(), REFRESH_MS);
  const reload = createReloader(configPath, rooms.config, log, (config) => adopt(rooms, config, egress), OUTSIDE);
  process.on('SIGHUP', () => void reload());
  log.write('info', 'worker.ready', { pid: process.pid, descriptors: rooms.descriptors.limit });

  await told;
  notify.stopping();
  await drain(gateway, listeners, rooms.config.gateway.drain);
  listeners.close();
  clearInterval(report);
  clearInterval(refresh);
  clearInterval(watchdog);
  rooms.ledger.record(counts());
  await rooms.ledger.close();
  // A server that never answers must not keep us: hosts wait in the listeners for the next worker.
  await Promise.race([rooms.relay.close(), after(LAST_QUIT_MS)]);
  abort.abort();
  return 0;
}

/** What the relays of this process have in common, one after the other. */
export type Egress = Omit<SmarthostDeps, 'workerCount'> & { readonly counters: Counters };

function makeRooms(config: Config, index: number, egress: Egress, signal: AbortSignal): Rooms {
  const { log } = egress;
  const { gateway, limits } = config;
  const paths = runPaths(gateway.runDir);
  const counts = new Counts();
  const threads = filterThreads(config);
  const ledger = createLedger(
    {
      path: paths.keeperSocket,
      worker: index,
      workers: gateway.workers,
      keeperFailure: gateway.keeperFailure,
      clock: systemClock,
      log,
      onMail: (to, bytes) => sendOwn(rooms, to, bytes),
    },
    signal,
  );
  const inquire = ledger.inquire;
  const rooms: Rooms = {
    worker: index,
    config,
    senders: sendersOf(config),
    relay: createSmarthost(config, { ...egress, workerCount: gateway.workers }),
    tls: new HostTls({ issuerPath: paths.issuer, clock: systemClock, log }, keyPairOf(config)),
    tlsRules: tlsRulesOf(config),
    farSession({ source, destination: address, destinationPort: port }, now) {
      const to = { address, port };
      const known = { verifier: rooms.verifier, hadTls: ledger.hadTls(endText(to)) };
      return createPreserved(source, to, now, egress.counters, known);
    },
    verifier: createVerifier(config, () => systemClock.nowMs()),
    farCall: callOriginal,
    ledger,
    inquire,
    budget: new SpoolBudget(limits.bodyTotal),
    spoolDir: paths.spoolDir,
    descriptors: new Descriptors(
      () =>
        counts.open +
        counts.preserved +
        counts.opaque +
        rooms.budget.openFiles +
        rooms.relay.servers().reduce((sum, { connections }) => sum + connections, 0),
    ),
    filters: makeFilters(config, { log, clock: systemClock, threads, inquire }),
    threads,
    log,
    clock: systemClock,
    counts,
    quoted: new Hourly(),
    heldBack: 0,
    draining: false,
  };
  return rooms;
}

/**
 * What comes while this worker drains waits in the kernel for the next one, but not for long: when running messages keep
 * us, hosts are told 421 and come again, to another worker or to our successor.
 */
async function drain(gateway: Gateway, listeners: Listeners, drainMs: number): Promise<void> {
  listeners.pause();
  const timer = setTimeout(() => listeners.resume(), MAX_WAIT_MS);
  await gateway.drain(drainMs);
  clearTimeout(timer);
}

/**
 * Sessions that run keep what they began with. The relay is always replaced: a password or a CA file can have changed
 * behind the same configuration.
 */
export function adopt(rooms: Rooms, config: Config, egress: Egress): void {
  rooms.config = config;
  rooms.senders = sendersOf(config);
  closeFilters(rooms.filters);
  rooms.threads.most = config.filters.threads;
  rooms.filters = makeFilters(config, rooms);
  rooms.budget.totalBytes = config.limits.bodyTotal;
  rooms.tls.configure(keyPairOf(config));
  rooms.tlsRules = tlsRulesOf(config);
  rooms.verifier = createVerifier(config, () => systemClock.nowMs(), rooms.verifier);
  rooms.ledger.configure({ workers: config.gateway.workers, keeperFailure: config.gateway.keeperFailure });
  const next = createSmarthost(config, { ...egress, workerCount: config.gateway.workers }, rooms.relay);
  // The new one takes over when a server has answered it, or none does; until then the old one serves.
  void next.start().then(() => {
    // Another reload has come meanwhile: its relay is the one.
    if (rooms.config !== config) return next.close();
    const old = rooms.relay;
    rooms.relay = next;
    return old.close();
  });
}

/** The operator's certificate, if there is one. */
function keyPairOf({ tls: { certificate, key } }: Config): KeyPair | undefined {
  return certificate === undefined || key === undefined ? undefined : { certificate, key };
}

function tlsRulesOf({ tls }: Config): TlsRules {
  return tlsRules(tls.requireFrom, tls.requireTo);
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
