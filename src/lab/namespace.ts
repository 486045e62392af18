/**
 * One network namespace: run and spawn commands in it, end every process in it, delete it.
 *
 * A namespace outlives the process that made it, so its name carries that process's id: `sweep` can tell what a killed
 * run has left from what another run is using.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type RunOptions = {
  /** written to standard input, which is closed then */
  readonly input?: string | Uint8Array;
  /** default a minute; then the command and its process group are killed and `timedOut` is set */
  readonly deadlineMs?: number;
  /** added to this process's environment */
  readonly env?: Readonly<Record<string, string>>;
};

export type Ran = {
  /** exit status; 128 + number for a signal, as a shell says it; 124 when the deadline passed */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
};

export type Namespace = {
  readonly name: string;
  /** Run a command to its end. Never rejects for what the command does; rejects when it cannot be started. */
  readonly run: (command: string, args: readonly string[], options?: RunOptions) => Promise<Ran>;
  /** Start a command and leave it running; it has its own process group unless `detached` says otherwise. */
  readonly spawn: (command: string, args: readonly string[], options?: SpawnOptions) => ChildProcess;
};

const DEADLINE_MS = 60_000;
const OUTPUT_MAX_BYTES = 16 * 1024 ** 2;
const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

/** for the processes of a namespace to end after SIGKILL, on a machine that is busy, too */
const END_MS = 30_000;

const ETC_NETNS = '/etc/netns';
const OURS = /^pstn(\d+)-\d+-(?:in|gw|net)$/;

export function namespace(name: string): Namespace {
  const start: Namespace['spawn'] = (command, args, options = {}) =>
    spawn('ip', ['netns', 'exec', name, command, ...args], { detached: true, ...options });
  return {
    name,
    spawn: start,
    run: (command, args, options = {}) =>
      runChild(start(command, args, { env: { ...process.env, ...options.env } }), options),
  };
}

/** Run a command outside any namespace of ours, with the same deadline and bounds as inside one. */
export function runHere(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return runChild(spawn(command, args, { detached: true, env: { ...process.env, ...options.env } }), options);
}

function runChild(child: ChildProcess, options: RunOptions): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let sizeBytes = 0;
    let timedOut = false;
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // ended by itself meanwhile
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, options.deadlineMs ?? DEADLINE_MS);
    const take = (into: Buffer[]) => (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > OUTPUT_MAX_BYTES) kill();
      else into.push(chunk);
    };
    child.stdout?.on('data', take(out));
    child.stderr?.on('data', take(err));
    // A command that ends without reading its input breaks the pipe; its exit status says what happened.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({
        code: timedOut ? 124 : (code ?? 128 + (SIGNALS[signal ?? ''] ?? 0)),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
        timedOut,
      });
    });
  });
}

/**
 * What a namespace's programs find as /etc/resolv.conf and, if there are names, /etc/hosts: `ip netns exec` lays what is in
 * /etc/netns/NAME over them. No name server is there, and being told so at once saves clients that look up their own name
 * the 5 s and more of a server that does not answer.
 */
export function writeNames(name: string, names: Readonly<Record<string, readonly string[]>> | undefined): void {
  const directory = join(ETC_NETNS, name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  if (!names) return;
  const lines = Object.entries({ localhost: ['127.0.0.1', '::1'], ...names }).flatMap(([host, addresses]) =>
    addresses.map((address) => `${address} ${host}\n`),
  );
  writeFileSync(join(directory, 'hosts'), lines.join(''));
}

/**
 * Kill what runs in these namespaces and delete them and their files in /etc/netns; what is already gone is no error.
 * Synchronous, because it must also work in a process's exit handler. A few tens of milliseconds each.
 */
export function removeNamespaces(names: readonly string[]): void {
  for (const name of names) {
    // A process may fork between the listing and the kill, and takes a moment to die: repeat until the list is empty.
    for (const deadline = performance.now() + END_MS; performance.now() < deadline; ) {
      const pids = pidsIn(name);
      if (pids.length === 0) break;
      for (const pid of pids) tryTo(() => process.kill(pid, 'SIGKILL'));
    }
    tryTo(() => ip(['netns', 'del', name]));
    tryTo(() => rmSync(join(ETC_NETNS, name), { recursive: true, force: true }));
  }
  // Ours only if it is empty; rmdir refuses otherwise.
  tryTo(() => rmdirSync(ETC_NETNS));
}

/** Ids of the processes in a namespace; none when there is no such namespace. */
export function pidsIn(name: string): number[] {
  let text = '';
  tryTo(() => {
    text = ip(['netns', 'pids', name]);
  });
  return text.split('\n').filter(Boolean).map(Number);
}

/** Remove the namespaces whose maker is dead. Returns their names. */
export function sweep(): string[] {
  const left = new Set([...list('/run/netns'), ...list(ETC_NETNS)].filter((name) => makerIsDead(name)));
  if (left.size > 0) removeNamespaces([...left]);
  return [...left];
}

function makerIsDead(name: string): boolean {
  const pid = OURS.exec(name)?.[1];
  if (pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function ip(args: string[]): string {
  return execFileSync('ip', args, { timeout: 5000, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function tryTo(what: () => void): void {
  try {
    what();
  } catch {
    // gone already, or the next sweep's business
  }
}
