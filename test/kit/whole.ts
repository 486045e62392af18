/**
 * The whole product in the lab's network: kernel, guard, keeper, workers, and a smarthost that takes everything.
 *
 * One network `customers`, closed; `stranger` is in none. What a test needs besides is in its configuration lines.
 */
import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Gateway, startGateway, untilReady } from '../../src/lab/gateway.ts';
import { pidsIn } from '../../src/lab/namespace.ts';
import { createNetwork, type LabNetwork, type NetworkOptions, PLACES } from '../../src/lab/network.ts';

export type Whole = {
  readonly network: LabNetwork;
  readonly gateway: Gateway;
  readonly directory: string;
  /** messages that the smarthost took, as its events say them */
  readonly taken: readonly {
    readonly messageId?: string;
    readonly contentSha256: string;
    readonly sizeBytes: number;
  }[];
  /** processes of the gateway by their title: `postern: worker 1` -> pid */
  readonly processes: () => ReadonlyMap<string, number>;
  readonly close: () => Promise<void>;
};

export type WholeOptions = NetworkOptions & {
  /** more lines for a table of the configuration */
  readonly tables?: Readonly<Record<string, string>>;
  readonly workers?: number;
  /** the smarthost's, when not the lab's own */
  readonly servers?: readonly string[];
};

export function wholeConfig(directory: string, options: WholeOptions = {}): string {
  const { tables = {}, workers = 2, servers = [`${PLACES.smarthost.v4}:587`] } = options;
  return [
    `[gateway]\nname = "gw1.example.net"\nstate_dir = "${directory}/state"\nrun_dir = "${directory}/run"\nworkers = ${workers}`,
    `drain = "1s"\n${tables['gateway'] ?? ''}`,
    `[intercept]\ninside = ["lan0"]\n${tables['intercept'] ?? ''}`,
    `[smarthost]\nservers = ${JSON.stringify(servers)}\ntls = "opportunistic"\n${tables['smarthost'] ?? ''}`,
    `[limits]\n${tables['limits'] ?? ''}`,
    `[journal]\nlines = "none"\n${tables['journal'] ?? ''}`,
    `[[network]]\nname = "customers"\nprefixes = ["198.51.100.0/25", "2001:db8:1::/64"]\n${tables['network'] ?? ''}`,
    tables['more'] ?? '',
  ].join('\n');
}

/** Starts everything and waits until it intercepts. On a failure nothing is left. */
export async function startWhole(options: WholeOptions = {}): Promise<Whole> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-whole-'));
  // The roles' users must be able to enter it.
  chmodSync(directory, 0o755);
  const network = await createNetwork(options);
  const taken: { messageId?: string; contentSha256: string; sizeBytes: number }[] = [];
  let gateway: Gateway | undefined;
  const close = async (): Promise<void> => {
    await gateway?.stop();
    await network.destroy();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await startSmarthost(network, taken);
    gateway = startGateway(network.gateway, directory, wholeConfig(directory, options));
    await untilReady(gateway, AbortSignal.timeout(120_000));
  } catch (error) {
    await close();
    throw error;
  }
  const { gateway: where } = network;
  return { network, gateway, directory, taken, close, processes: () => titles(pidsIn(where.name)) };
}

async function startSmarthost(network: LabNetwork, taken: unknown[]): Promise<void> {
  const main = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
  const child = network.internet.spawn(
    process.execPath,
    [main, '--quiet', '--listen', `${PLACES.smarthost.v4}:587`, '--listen', `[${PLACES.smarthost.v6}]:587`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve, reject) => {
    let listening = 0;
    child.once('exit', (code) => reject(new Error(`the smarthost ended with status ${code}`)));
    onLines(child, (line) => {
      const event = JSON.parse(line) as { event: string };
      if (event.event === 'message') taken.push(event);
      if (event.event === 'listening' && ++listening === 2) resolve();
    });
  });
}

export function onLines(child: ChildProcess, take: (line: string) => void): void {
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', take);
}

function titles(pids: readonly number[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const pid of pids) {
    try {
      const title = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0] ?? '';
      if (title.startsWith('postern: ')) found.set(title.trim(), pid);
    } catch {
      // it has ended meanwhile
    }
  }
  return found;
}

/** Resident memory of processes, in bytes. */
export function residentBytes(pids: Iterable<number>): number {
  let total = 0;
  for (const pid of pids) {
    const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    total += Number(kib ?? 0) * 1024;
  }
  return total;
}
