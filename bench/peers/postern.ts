/** Postern itself: kernel rules, TPROXY, guard, keeper and two workers, with everything on that is on by default. */
import { chmodSync, chownSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { userOf } from '../../src/kit/users.ts';
import { type Gateway, startGateway, untilReady } from '../../src/lab/gateway.ts';
import { temporaryDirectory } from '../leftovers.ts';
import { CALLED, CUSTOMERS, SMARTHOST, type Stage } from '../stage.ts';
import { type Peer, type PeerKind, untilServes } from './peer.ts';

/** a hundred thousand prefixes are read by five processes */
const START_MS = 120_000;

export type PosternOptions = {
  readonly workers?: number;
  /** in place of the sink */
  readonly servers?: readonly string[];
  /** more lines for a table of the configuration */
  readonly tables?: Readonly<
    Partial<Record<'intercept' | 'smarthost' | 'journal' | 'limits' | 'network' | 'more', string>>
  >;
  /** prefixes of the customers besides those that send */
  readonly morePrefixes?: readonly string[];
  /** what stands in state_dir already; it is given to the keeper then */
  readonly prepare?: (stateDir: string) => void;
  /** starts it otherwise than by `postern run` */
  readonly start?: typeof startGateway;
};

export type Postern = Peer & { readonly gateway: Gateway };

/** What is not a default: two workers, names and addresses, and as many connections to the smarthost as there are clients. */
function benchConfig(
  directory: string,
  stateDir: string,
  { workers = 2, servers = [SMARTHOST.v4], tables = {}, morePrefixes = [] }: PosternOptions,
): string {
  return [
    `[gateway]\nname = "gw1.example.net"\nstate_dir = "${stateDir}"\nrun_dir = "${directory}/run"\nworkers = ${workers}\ndrain = "1s"`,
    `[intercept]\ninside = ["lan0"]\n${tables.intercept ?? ''}`,
    `[smarthost]\nservers = ${JSON.stringify(servers)}\ntls = "opportunistic"\nmax_connections = 500\n${tables.smarthost ?? ''}`,
    `[limits]\n${tables.limits ?? ''}`,
    `[journal]\n${tables.journal ?? ''}`,
    `[[network]]\nname = "customers"\nprefixes = ${JSON.stringify([...CUSTOMERS, ...morePrefixes])}\n${tables.network ?? ''}`,
    tables.more ?? '',
  ].join('\n');
}

export async function startPostern(stage: Stage, options: PosternOptions = {}): Promise<Postern> {
  // run_dir on a tmpfs, as /run is; state_dir on a disk.
  const directory = temporaryDirectory('/dev/shm/postern-bench-');
  const state = temporaryDirectory(join(tmpdir(), 'postern-bench-'));
  let gateway: Gateway | undefined;
  const close = async (): Promise<void> => {
    await gateway?.stop();
    directory.remove();
    state.remove();
  };
  try {
    // The roles' users must be able to enter these.
    for (const { path } of [directory, state]) chmodSync(path, 0o755);
    const stateDir = join(state.path, 'state');
    mkdirSync(stateDir);
    options.prepare?.(stateDir);
    const { uid, gid } = userOf('keeper');
    for (const name of ['', ...readdirSync(stateDir)]) chownSync(join(stateDir, name), uid, gid);
    const start = options.start ?? startGateway;
    gateway = start(stage.network.gateway, directory.path, benchConfig(directory.path, stateDir, options));
    await untilReady(gateway, AbortSignal.timeout(START_MS), START_MS);
    await untilServes(stage.network.inside, CALLED.v4);
    return { version: process.version, target: CALLED, gateway, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Under Postern's name in a run of its own. */
export const posternKept: PeerKind = {
  name: 'postern',
  about: 'Postern, 2 workers, egress preserve, with everything on',
  start: (stage) => startPostern(stage, { tables: { network: 'egress = "preserve"' } }),
};

export const postern: PeerKind = {
  name: 'postern',
  about: 'Postern, 2 workers, through TPROXY, with everything on',
  start: (stage) => startPostern(stage),
};
