/**
 * The real ClamAV and the real Rspamd, from Debian's packages, each on a socket of its own in a directory of its own. They run
 * with the libraries that were unpacked with them, so that nothing is installed and no root is needed.
 *
 * ClamAV knows one signature, of our own; Rspamd is set up with the files of appliance/rspamd, as docs/filters.md says. Both ask
 * nobody outside: ClamAV has no freshclam, and Rspamd a name server of the test's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { chrootOf } from './debian.ts';

const READY_TIMEOUT_MS = 120_000;
const RSPAMD_FILES = join(import.meta.dirname, '../../appliance/rspamd');

const clamavRoot = (): Promise<string> => chrootOf('clamav', ['clamav-daemon']);
const rspamdRoot = (): Promise<string> => chrootOf('rspamd', ['rspamd']);

export async function unpackScanners(): Promise<void> {
  await clamavRoot();
  await rspamdRoot();
}

export type Scanner = {
  /** its socket, as it stands in the configuration */
  readonly socket: string;
  /** of its processes, until it is started again */
  group(): number;
  /** SIGKILL, and wait for its end */
  kill(): Promise<void>;
  /** Starts it again where it was. */
  start(): Promise<void>;
  close(): Promise<void>;
};

/** What our signature finds: a word that stands nowhere else. */
export const MALICE = ['POSTERN', 'MALICE', 'TEST'].join('-');

export async function startClamd(lines: readonly string[] = []): Promise<Scanner> {
  const root = await clamavRoot();
  const dir = mkdtempSync(join(tmpdir(), 'clamd-'));
  const socket = join(dir, 'clamd.ctl');
  mkdirSync(join(dir, 'db'));
  writeFileSync(join(dir, 'db/postern.ndb'), `Postern.Test:0:*:${Buffer.from(MALICE).toString('hex')}\n`);
  writeFileSync(
    join(dir, 'clamd.conf'),
    [
      `LocalSocket ${socket}`,
      `DatabaseDirectory ${dir}/db`,
      'Foreground yes',
      'AlertExceedsMax yes',
      ...lines,
      '',
    ].join('\n'),
  );
  return scanner(root, dir, socket, ['usr/sbin/clamd', '-c', join(dir, 'clamd.conf')]);
}

/** `nameserver` is a port on loopback. */
export async function startRspamd(nameserver: number): Promise<Scanner> {
  const root = await rspamdRoot();
  const dir = mkdtempSync(join(tmpdir(), 'rspamd-'));
  const socket = join(dir, 'rspamd.sock');
  for (const name of ['db', 'run', 'log']) mkdirSync(join(dir, name));
  cpSync(RSPAMD_FILES, join(dir, 'local'), { recursive: true });
  const local: Readonly<Record<string, string>> = {
    // The list of suffixes that is shipped takes half a minute to compile.
    'options.inc': `dns { nameserver = ["127.0.0.1:${nameserver}:1"]; timeout = 1s; }\nurl_tld = "${dir}/tld";\ndisable_hyperscan = true;\ncontrol_socket = "${dir}/run/control mode=0600";\n`,
    'worker-normal.inc': `bind_socket = "${socket} mode=0666";\ncount = 1;\n`,
    'worker-controller.inc': 'enabled = false;\n',
    'worker-proxy.inc': 'enabled = false;\n',
    'logging.inc': 'type = "console";\nlevel = "error";\n',
  };
  mkdirSync(join(dir, 'local/local.d'), { recursive: true });
  for (const [name, text] of Object.entries(local)) writeFileSync(join(dir, 'local/local.d', name), text);
  writeFileSync(join(dir, 'tld'), 'com\nexample\nnet\n');
  const share = join(root, 'usr/share/rspamd');
  const places = {
    CONFDIR: join(root, 'etc/rspamd'),
    LOCAL_CONFDIR: join(dir, 'local'),
    DBDIR: join(dir, 'db'),
    RUNDIR: join(dir, 'run'),
    LOGDIR: join(dir, 'log'),
    SHAREDIR: share,
    RULESDIR: join(share, 'rules'),
    PLUGINSDIR: join(share, 'plugins'),
    LUALIBDIR: join(share, 'lualib'),
    WWWDIR: join(share, 'www'),
  };
  const vars = Object.entries(places).map(([name, value]) => `--var=${name}=${value}`);
  const config = join(root, 'etc/rspamd/rspamd.conf');
  return scanner(root, dir, socket, ['usr/bin/rspamd', '-f', '-i', '-c', config, ...vars]);
}

/** `command` is a program below `root` with its arguments. */
async function scanner(root: string, dir: string, socket: string, command: readonly string[]): Promise<Scanner> {
  const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib/rspamd'].map((at) =>
    join(root, at),
  );
  const loader = process.arch === 'arm64' ? 'lib/ld-linux-aarch64.so.1' : 'lib64/ld-linux-x86-64.so.2';
  const [program = '', ...args] = command;
  let child: ChildProcess;
  const start = async (): Promise<void> => {
    rmSync(socket, { force: true });
    const run = [join(root, loader), '--library-path', libraries.join(':'), join(root, program), ...args];
    // A group of its own, which ends with this process, however that ends: the shell's input does then.
    child = spawn('sh', ['-c', '"$@" & cat; kill -KILL 0', 'sh', ...run], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    const end = performance.now() + READY_TIMEOUT_MS;
    while (!(await isListening(socket))) {
      if (performance.now() > end) throw new Error(`${program} does not listen after ${READY_TIMEOUT_MS} ms`);
      await pause(20);
    }
  };
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    process.kill(-(child.pid as number), 'SIGKILL');
    await ended;
  };
  await start();
  return {
    socket,
    group: () => child.pid as number,
    start,
    kill,
    async close() {
      await kill();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function isListening(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const trial = createConnection(socket);
    trial.on('connect', () => {
      trial.destroy();
      resolve(true);
    });
    trial.on('error', () => resolve(false));
  });
}
