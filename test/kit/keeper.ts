/** A keeper in this process, in a directory of its own, with the workers, guard and commands that speak to it. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/load.ts';
import type { Origins } from '../../src/config/read.ts';
import type { Config } from '../../src/config/schema.ts';
import { dialChannel, type Peer } from '../../src/kit/channel.ts';
import { type Clock, systemClock } from '../../src/kit/clock.ts';
import { runPaths } from '../../src/kit/run-dir.ts';
import { askKeeper } from '../../src/ledger/ask.ts';
import { createLedger, type Ledger, type LedgerOptions } from '../../src/ledger/client.ts';
import type { FromKeeper, Question, ToKeeper } from '../../src/ledger/language.ts';
import { checkFromKeeper } from '../../src/ledger/language-check.ts';
import { type RunningKeeper, startKeeper } from '../../src/roles/keeper.ts';
import { type Logbook, logbook } from './logbook.ts';
import { inbox, type Inbox } from './wait.ts';

/** Directories as the supervisor makes them, and a configuration in them. */
export type Place = {
  readonly dir: string;
  readonly runDir: string;
  readonly stateDir: string;
  readonly configPath: string;
  /** The configuration with these lines for `[journal]` and the networks instead of the usual ones. */
  readonly write: (change?: { readonly journal?: string; readonly networks?: string }) => void;
  readonly remove: () => void;
};

const NETWORKS = `[[network]]
name = "customers"
prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]
max_connections = 3
[[network]]
name = "discreet"
prefixes = ["203.0.113.0/25"]
log = "hash"
[[network]]
name = "silent"
prefixes = ["203.0.113.128/25"]
log = "none"
[[subscriber]]
name = "quiet"
prefixes = ["198.51.100.77"]
log = "none"
`;

/** Samples are years old: what is older than the journal keeps would be deleted within a second. */
const KEEP = 'keep = "3650d"';

export function makePlace(metricsPort = 9125): Place {
  const dir = mkdtempSync(join(tmpdir(), 'keeper-'));
  const [runDir, stateDir, configPath] = [join(dir, 'run'), join(dir, 'state'), join(dir, 'postern.toml')];
  const paths = runPaths(runDir);
  mkdirSync(paths.keeperDir, { recursive: true });
  mkdirSync(stateDir);
  symlinkSync(paths.keeperListen, paths.keeperSocket);
  const place: Place = {
    dir,
    runDir,
    stateDir,
    configPath,
    write: ({ journal = KEEP, networks = NETWORKS } = {}) =>
      writeFileSync(
        configPath,
        `[gateway]
name = "gw1.example.net"
state_dir = "${stateDir}"
run_dir = "${runDir}"
workers = 2
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
[journal]
${journal}
[metrics]
listen = "127.0.0.1:${metricsPort}"
[[exempt_to]]
prefixes = ["192.0.2.10/32"]
reason = "our own MX"
[[exempt_to]]
prefixes = ["192.0.2.11/32"]
until = "2026-01-01"
reason = "over"
${networks}`,
      ),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
  place.write();
  return place;
}

export async function configIn(place: Place): Promise<Config> {
  return (await loadedIn(place)).config;
}

async function loadedIn(place: Place): Promise<{ readonly config: Config; readonly origins: Origins }> {
  const { readFileSync } = await import('node:fs');
  const loaded = await parseConfig(readFileSync(place.configPath, 'utf8'), place.configPath);
  if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join('\n'));
  // Any free port: several of these run at once.
  const { metrics, panel } = loaded.config;
  const config = {
    ...loaded.config,
    metrics: { listen: { ...metrics.listen, port: 0 } },
    panel: { ...panel, listen: { ...panel.listen, port: 0 } },
  };
  return { config, origins: loaded.origins };
}

export type Stage = {
  readonly place: Place;
  readonly log: Logbook;
  readonly keeper: RunningKeeper;
  readonly worker: (index: number, keeperFailure?: 'local' | 'defer', onMail?: LedgerOptions['onMail']) => Ledger;
  /** a bare connection that says what it is told to */
  readonly speaker: (hello?: Extract<ToKeeper, { kind: 'hello' }>) => Promise<Speaker>;
  readonly ask: (question: Question) => Promise<unknown>;
  readonly metrics: () => Promise<string>;
  readonly close: () => Promise<void>;
};
export type Speaker = { readonly peer: Peer; readonly got: Inbox<FromKeeper>; readonly down: Promise<string> };

export async function stageKeeper(clock: Clock = systemClock, place = makePlace()): Promise<Stage> {
  const log = logbook();
  const { config, origins } = await loadedIn(place);
  const keeper = await startKeeper(config, {
    ...{ log, clock, configErrors: () => 0 },
    origins: { lines: origins, file: place.configPath },
  });
  const life = new AbortController();
  const path = runPaths(place.runDir).keeperSocket;
  return {
    place,
    log,
    keeper,
    worker: (worker, keeperFailure = 'local', onMail) =>
      createLedger(
        { path, worker, workers: 2, keeperFailure, clock, log: logbook(), ...(onMail && { onMail }) },
        life.signal,
      ),
    async speaker(hello) {
      const got = inbox<FromKeeper>();
      const { promise: down, resolve } = Promise.withResolvers<string>();
      const peer = await dialChannel(path, { check: checkFromKeeper, onMessage: got.put, onDown: resolve });
      if (hello) peer.send(hello);
      return { peer, got, down };
    },
    ask: (question) => askKeeper(path, question),
    metrics: async () => (await fetch(`http://127.0.0.1:${keeper.metricsPort()}/metrics`)).text(),
    async close() {
      life.abort();
      await keeper.close();
      place.remove();
    },
  };
}
