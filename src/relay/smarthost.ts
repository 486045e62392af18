/** The egress `smarthost`: every message goes to one of the configured servers, over pooled connections. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { type Capabilities, intersect } from '../smtp/capabilities.ts';
import type { Extension } from '../smtp/transaction.ts';
import type { Credentials } from './auth.ts';
import { dial, type Dialled } from './dial.ts';
import { Pool } from './pool.ts';
import type { Counters, Relay } from './relay.ts';
import { EXTENSIONS, Server } from './server.ts';
import { SmarthostTransaction } from './transaction.ts';

/** A minute less than hosts wait for the answer to their final dot (RFC 5321 section 4.5.3.2.6): filters come before us. */
const HOST_PATIENCE_MS = 9 * 60_000;
const LEAST_SEND_MS = 60_000;

/** How long everything before the final dot may take, when its answer may take `finalMs`. */
export function sendMsFor(finalMs: number): number {
  return Math.max(LEAST_SEND_MS, HOST_PATIENCE_MS - finalMs);
}

export type SmarthostDeps = {
  readonly log: Log;
  readonly clock: Clock;
  /** how many workers share `smarthost.max_connections` */
  readonly workerCount: number;
  /** one for all relays of the process that follow one another */
  readonly counters?: Counters;
  /** for tests; the default is what `final_timeout` leaves of a host's patience */
  readonly sendMs?: number;
  /** for tests; the default reads the file */
  readonly readPassword?: (path: string) => string;
};

export function noCounts(): Counters {
  return { faults: 0, repeated: 0, changed: 0, possibleDuplicates: 0 };
}

/**
 * The relay for one configuration; a reload makes another and closes this one. Password and CA file are read here, once;
 * when that fails, the reason is logged and every server is down with it, as mail in clear or unverified is no way out.
 *
 * Until a server has answered it, it offers what `predecessor` did: a reload while none answers makes no host be told
 * that nothing was ever reached.
 */
export function createSmarthost(config: Config, deps: SmarthostDeps, predecessor?: Relay): Relay {
  const { smarthost, limits, gateway } = config;
  const { log, clock, counters = noCounts() } = deps;
  const servers = smarthost.servers.map((endpoint) => new Server(endpoint, clock.nowMs()));
  const before = predecessor && {
    offers: predecessor.offers(),
    ever: new Set(EXTENSIONS.filter((extension) => predecessor.everOffered(extension))),
  };
  const secrets = readSecrets(smarthost, deps.readPassword);
  if ('unreadable' in secrets) log.write('error', 'smarthost.unreadable', { detail: secrets.unreadable.detail });

  const pool = new Pool({
    servers,
    dial: (server, signal): Promise<Dialled> =>
      'unreadable' in secrets
        ? Promise.resolve(secrets.unreadable)
        : dial(server.endpoint, {
            name: gateway.name,
            // Once seen to offer TLS: going back to clear would be a downgrade that nobody asked for.
            tls: smarthost.tls === 'opportunistic' && server.everOffered('STARTTLS') ? 'encrypt' : smarthost.tls,
            ca: secrets.ca,
            credentials: secrets.credentials,
            timeoutMs: smarthost.connectTimeout,
            ...(signal && { signal }),
          }),
    maxConnections: Math.max(1, Math.floor(smarthost.maxConnections / deps.workerCount)),
    idleMs: smarthost.idleTimeout,
    refreshMs: smarthost.refresh,
    replyMs: smarthost.replyTimeout,
    clock,
    log,
  });

  const offeredNow = (): Capabilities | undefined => {
    const reached = servers.filter((server) => server.capabilities !== undefined);
    const live = reached.filter((server) => server.state === 'up');
    const [first, ...others] = (live.length > 0 ? live : reached).map((server) => server.capabilities as Capabilities);
    const far = first ? others.reduce(intersect, first) : before?.offers;
    return far && carried(far, limits.messageSize, smarthost.trustedLink);
  };
  let offered: Capabilities | undefined;
  let offeredAt = -1;

  return {
    start: () => pool.start(),
    /** Put together when a server has changed: every session asks. */
    offers() {
      let revision = 0;
      for (const server of servers) revision += server.revision;
      if (revision !== offeredAt) offered = offeredNow();
      offeredAt = revision;
      return offered;
    },
    everOffered: (extension) =>
      servers.some((server) => server.everOffered(extension)) ||
      (before !== undefined &&
        before.ever.has(extension) &&
        servers.every((server) => server.capabilities === undefined)),
    begin: (from, id, source = '') =>
      new SmarthostTransaction(smarthost.trustedLink ? { ...from, needs: from.needs.filter(isOfMessage) } : from, id, {
        source,
        pool,
        holdMs: smarthost.hold,
        replyMs: smarthost.replyTimeout,
        sendMs: deps.sendMs ?? sendMsFor(smarthost.finalTimeout),
        finalMs: smarthost.finalTimeout,
        clock,
        log,
        counters,
      }),
    servers: () =>
      servers.map((server) => ({
        server: server.name,
        up: server.state === 'up',
        since: server.sinceMs,
        connections: server.connected.size,
        ...(server.failure && { reason: `${server.failure.class}: ${server.failure.detail}` }),
      })),
    close: () => pool.close(),
    counters: () => ({ ...counters }),
  };
}

/** What a message asks of a server whatever the link to it. */
const isOfMessage = (extension: Extension): boolean => extension !== 'STARTTLS';

/**
 * What of it can be kept towards a host. TLS is offered where the far side has it, or where the operator vouches for the
 * link; chunks are between us and the server.
 */
function carried(far: Capabilities, messageSizeBytes: number, isTrusted: boolean): Capabilities {
  const size = far.size === 0 ? messageSizeBytes : far.size;
  return {
    ...far,
    startTls: far.startTls || isTrusted,
    chunking: false,
    size: size === undefined ? undefined : Math.min(size, messageSizeBytes),
  };
}

type Secrets =
  | { readonly ca: Buffer | undefined; readonly credentials: Credentials | undefined }
  | { readonly unreadable: Dialled & { kind: 'failure' } };

/** Password and CA file, as they are now. Never throws. */
export function readSecrets(
  smarthost: Config['smarthost'],
  readPassword: (path: string) => string = readPasswordFile,
): Secrets {
  const { username, passwordFile, caFile } = smarthost;
  const fail = (of: 'upstream.auth' | 'upstream.tls', what: string, error: unknown): Secrets => ({
    unreadable: { kind: 'failure', class: of, detail: `${what} cannot be read: ${(error as Error).message}` },
  });
  let ca: Buffer | undefined;
  try {
    ca = caFile === undefined ? undefined : readFileSync(caFile);
  } catch (error) {
    return fail('upstream.tls', 'smarthost.ca_file', error);
  }
  if (username === undefined || passwordFile === undefined) return { ca, credentials: undefined };
  try {
    return { ca, credentials: { username, password: readPassword(passwordFile) } };
  } catch (error) {
    return fail('upstream.auth', 'smarthost.password_file', error);
  }
}

/** The file's text without the line end that an editor leaves behind. */
function readPasswordFile(path: string): string {
  return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
}
