/**
 * A Debian with Postern installed in it, booted by systemd-nspawn in a network namespace of the lab: the real systemd,
 * the real units, this checkout's code.
 *
 * The base system is fetched once, by mmdebstrap from Debian's mirror, and kept as a tar in .cache/nspawn.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildDeb, type Built } from '../../appliance/deb.ts';
import { type Ran, runHere } from '../../src/lab/namespace.ts';

const cacheDir = join(import.meta.dirname, '../../.cache/nspawn');
/** Any time: 2026-11-02. */
export const EPOCH_S = 1_793_620_800;
const FETCH_TIMEOUT_MS = 600_000;
const BOOT_TIMEOUT_MS = 60_000;
const POWER_OFF_MS = 20_000;
/** dpkg writes 170 MB */
const COMMAND_TIMEOUT_MS = 240_000;

const MMDEBSTRAP = [
  ...['--format=tar', '--variant=minbase', '--aptopt=Acquire::Languages "none"'],
  // What the package depends on.
  '--include=systemd-sysv,iproute2,iptables,ipset,libatomic1,libstdc++6,procps',
  ...['man', 'doc', 'locale', 'info', 'zoneinfo'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
  'bookworm',
] as const;

/** The tar of a Debian 12 without Postern; about a minute when it has to be fetched. */
export async function baseSystem(): Promise<string> {
  mkdirSync(cacheDir, { recursive: true });
  const key = createHash('sha256').update(MMDEBSTRAP.join('\n')).digest('hex').slice(0, 12);
  const tar = join(cacheDir, `debian-12-${key}.tar`);
  // Under a lock, since another run may be at it; a run that is killed lets go of the lock and leaves no half tar.
  const script =
    'test -e "$0" || { echo "fetching a Debian 12 for the test of the units" >&2; mmdebstrap --quiet "$@" "$0.new" && mv "$0.new" "$0"; }';
  const ran = await runHere('flock', [join(cacheDir, 'lock'), 'sh', '-c', script, tar, ...MMDEBSTRAP], {
    deadlineMs: FETCH_TIMEOUT_MS,
  });
  if (ran.code !== 0) throw new Error(`cannot fetch a Debian 12: ${ran.stderr.trim()}`);
  return tar;
}

export type MachineOptions = {
  /** the namespace it lives in; its interfaces are the machine's */
  readonly netns: string;
  /** texts by absolute path, written when the package has been installed */
  readonly files: Readonly<Record<string, string>>;
};

export type Machine = {
  /** the package that is installed, and lies in / */
  readonly built: Built;
  /** what there was in /etc and /usr, and of packages in /var/lib/dpkg, before that */
  readonly pathsBefore: readonly string[];
  /** Run a command inside, as root. */
  readonly run: (command: string, ...args: string[]) => Promise<Ran>;
  /** The same, and its standard output; throws with what it said when it fails. */
  readonly ask: (command: string, ...args: string[]) => Promise<string>;
  /** a file's path as seen from outside */
  readonly path: (inside: string) => string;
  /** Power it off and boot it again; resolves when systemd has started what it was to start. */
  readonly restart: () => Promise<void>;
  /** Power it off and remove it. */
  readonly stop: () => Promise<void>;
};

/** Boots it; resolves when systemd has started what it was to start. `remove` its files with `stop`. */
export async function bootMachine(options: MachineOptions): Promise<Machine> {
  const tar = await baseSystem();
  const top = mkdtempSync(join(tmpdir(), `postern-machine.${process.pid}-`));
  const root = join(top, 'root');
  let nspawn: ChildProcess | undefined;
  const lastResort = (): void => {
    nspawn?.kill('SIGKILL');
    rmSync(top, { recursive: true, force: true });
  };
  process.once('exit', lastResort);
  const stop = async (): Promise<void> => {
    if (nspawn) await powerOff(nspawn);
    process.off('exit', lastResort);
    rmSync(top, { recursive: true, force: true });
  };
  try {
    mkdirSync(root);
    execFileSync('tar', ['-C', root, '-xpf', tar, '--numeric-owner'], { timeout: 300_000 });
    const pathsBefore = await pathsIn(root);
    const built = await buildDeb({ out: root, quick: true, epochS: EPOCH_S });
    // Before the first boot, as who makes an image does it.
    const installed = await runHere('chroot', [root, 'dpkg', '--force-unsafe-io', '-i', `/${basename(built.path)}`], {
      deadlineMs: COMMAND_TIMEOUT_MS,
    });
    if (installed.code !== 0)
      throw new Error(`the package cannot be installed: ${installed.stdout}${installed.stderr}`);
    for (const [path, text] of Object.entries(options.files)) writeInside(root, path, text);
    let pid = 0;
    const boot = async (): Promise<void> => {
      nspawn = start(root, options.netns, join(top, 'console'));
      pid = await initOf(nspawn);
    };
    await boot();
    const run: Machine['run'] = (command, ...args) =>
      runHere('nsenter', ['-t', String(pid), '-m', '-u', '-i', '-n', '-p', command, ...args], {
        deadlineMs: COMMAND_TIMEOUT_MS,
      });
    const ask: Machine['ask'] = async (command, ...args) => {
      const { code, stdout, stderr } = await run(command, ...args);
      if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
      return stdout.trim();
    };
    await booted(run, join(top, 'console'));
    const restart = async (): Promise<void> => {
      if (nspawn) await powerOff(nspawn);
      await boot();
      await booted(run, join(top, 'console'));
    };
    return { built, pathsBefore, run, ask, restart, stop, path: (inside) => join(root, inside) };
  } catch (error) {
    await stop();
    throw error;
  }
}

function writeInside(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Paths below a root as they are inside: of configuration, of programs, of what dpkg knows. */
export async function pathsIn(root: string): Promise<string[]> {
  const args = ['-C', root, 'find', 'etc', 'usr', 'opt', 'srv', 'home', 'root', 'var/cache', 'var/lib', '-xdev'];
  const { code, stdout, stderr } = await runHere('env', args, { deadlineMs: 60_000 });
  if (code !== 0) throw new Error(stderr);
  return stdout.trim().split('\n').sort();
}

function start(root: string, netns: string, consolePath: string): ChildProcess {
  const log = openSync(consolePath, 'w');
  // --register=no, --keep-unit: no machined and no D-Bus on the machine that tests. nspawn gives CAP_NET_ADMIN by itself
  // only when it has made the network namespace.
  const args = ['-q', '-b', '-D', root, '--register=no', '--keep-unit', '--console=pipe', '--capability=CAP_NET_ADMIN'];
  const child = spawn('systemd-nspawn', [...args, `--network-namespace-path=/run/netns/${netns}`], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  return child;
}

/** The process that is number 1 inside. */
async function initOf(nspawn: ChildProcess): Promise<number> {
  const { pid } = nspawn;
  for (const deadline = performance.now() + BOOT_TIMEOUT_MS; performance.now() < deadline; await sleep(50)) {
    if (pid === undefined || nspawn.exitCode !== null) throw new Error(`systemd-nspawn ended with ${nspawn.exitCode}`);
    for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)) {
      const inner = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${child}/status`, 'utf8'))?.[1];
      if (inner === '1') return Number(child);
    }
  }
  throw new Error('systemd-nspawn started no init');
}

async function booted(run: Machine['run'], consolePath: string): Promise<void> {
  // is-system-running --wait needs D-Bus or systemd's own socket, which is there a moment after init.
  const deadline = performance.now() + BOOT_TIMEOUT_MS;
  for (;;) {
    const { stdout, stderr } = await run('systemctl', 'is-system-running');
    const state = stdout.trim();
    if (state === 'running' || state === 'degraded') return;
    if (performance.now() > deadline)
      throw new Error(
        `the machine did not come up: ${state}${stderr}\n${readFileSync(consolePath, 'utf8').slice(-2000)}`,
      );
    await sleep(100);
  }
}

/** SIGTERM asks nspawn to have its init power off; what takes longer is cut off. */
async function powerOff(nspawn: ChildProcess): Promise<void> {
  if (nspawn.exitCode !== null || nspawn.signalCode !== null) return;
  const ended = once(nspawn, 'exit');
  nspawn.kill('SIGTERM');
  const timer = setTimeout(() => nspawn.kill('SIGKILL'), POWER_OFF_MS);
  await ended;
  clearTimeout(timer);
}

/** Machines of runs that were killed: their directories, each named after the process that made it. */
export function sweepMachines(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^postern-machine\.(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
