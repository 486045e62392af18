/**
 * The whole lab: a network, a smarthost and servers that record, the real gateway between them. It is made whole or not
 * at all, and `close` (at the latest the end of this process) leaves no namespace, process or file.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Reached, startDirect, startInsideServer } from './direct.ts';
import { type Gateway, GATEWAY_NAME, labConfig, startGateway, untilReady } from './gateway.ts';
import { createNetwork, sweep } from './network.ts';
import type { Stage } from './perform.ts';
import type { Reporter } from './reporter.ts';
import { EXTRA_HOSTS, PLACED } from './script.ts';
import { type Smarthost, startSmarthost } from './smarthost.ts';

export type Lab = Stage & {
  readonly directory: string;
  readonly config: string;
  readonly gateway: Gateway;
  readonly close: () => Promise<void>;
};

export type LabOptions = {
  /** where to leave configuration, logs and journal; undefined: in a temporary directory that is removed */
  readonly keep: string | undefined;
  /** what is being started, for people who wait */
  readonly onProgress: (what: string) => void;
  readonly signal: AbortSignal;
};

const PREFIX = 'postern-lab-';

/** Start everything and wait until the gateway intercepts. Needs root. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { onProgress, signal } = options;
  sweep();
  sweepDirectories();
  const closers: (() => Promise<void>)[] = [];
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      for (const each of closers.toReversed()) await each();
    })());
  try {
    onProgress('a network of namespaces');
    const network = await createNetwork({ hosts: EXTRA_HOSTS });
    closers.push(network.destroy);
    const { directory, remove } = makeDirectory(options.keep);
    // The last to be done: until the namespaces are gone somebody writes there.
    closers.unshift(remove);
    signal.throwIfAborted();

    onProgress('a smarthost and servers that record');
    const [smarthost, direct, insideServer] = await Promise.all([
      startSmarthost(network.internet, { directory, gatewayName: GATEWAY_NAME }),
      startDirect(network.internet),
      startInsideServer(network.inside, [PLACED.customer]),
    ] satisfies [Promise<Smarthost>, Promise<Reporter<Reached>>, Promise<Reporter<Reached>>]);
    signal.throwIfAborted();

    onProgress('the gateway');
    const config = labConfig(directory, smarthost);
    const gateway = startGateway(network.gateway, directory, config);
    closers.push(gateway.stop);
    await untilReady(gateway, signal);
    return { network, smarthost, direct, insideServer, gateway, directory, config, close, ...operator(gateway) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Locks as the operator sets them: through the command. */
function operator(gateway: Gateway): Pick<Stage, 'lock' | 'unlock'> {
  const command = async (name: string, ...args: string[]): Promise<void> => {
    const ran = await gateway.postern(name, ...args);
    if (ran.code !== 0) throw new Error(`postern ${name} failed: ${(ran.stderr || ran.stdout).trim()}`);
  };
  return {
    lock: (subject) => command('lock', subject, '--how', 'reject', '--reason', 'tried in the lab'),
    unlock: (subject) => command('unlock', subject),
  };
}

/** Why a directory cannot be the one to keep; undefined when it can: it is empty, or not there yet. */
export function keepProblem(keep: string): string | undefined {
  const stat = statSync(keep, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (!stat.isDirectory()) return `${keep} is no directory; name an empty one, or a new one`;
  return readdirSync(keep).length > 0 ? `${keep} is not empty; name a directory that is, or a new one` : undefined;
}

/** Readable by everybody, since the roles run as users of their own. */
function makeDirectory(keep: string | undefined): { directory: string; remove: () => Promise<void> } {
  if (keep !== undefined) {
    const problem = keepProblem(keep);
    if (problem !== undefined) throw new Error(problem);
    mkdirSync(keep, { recursive: true });
    chmodSync(keep, 0o755);
    return { directory: keep, remove: async () => {} };
  }
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  chmodSync(directory, 0o755);
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  // After the network's own exit handler, which ends those who write here.
  process.once('exit', remove);
  return { directory, remove: async () => remove() };
}

/** Directories of runs that were killed. */
function sweepDirectories(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
