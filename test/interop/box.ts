/**
 * A chroot as a machine to run in: its own mounts and process ids, the network of a given namespace.
 *
 * What is written goes to a tmpfs over the shared, cached root directory and is gone with the box. The first process
 * reads this process's pipe: when the pipe ends, however this process ended, the kernel kills all others in the box.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Namespace, Ran, RunOptions } from '../../src/lab/network.ts';
import { cacheDir } from '../kit/debian.ts';

export type Box = {
  /** Run a command to its end; rejects when it does not end with 0. */
  readonly run: (command: readonly string[], options?: RunOptions) => Promise<Ran>;
  /** Start a command that stays. */
  readonly spawn: (command: readonly string[]) => ChildProcess;
  /** Make files with this content; directories on the way are made. */
  readonly write: (files: Readonly<Record<string, string | Uint8Array>>) => Promise<void>;
  /** End all that runs in it. */
  readonly close: () => Promise<void>;
};

const START_TIMEOUT_MS = 60_000;
const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LC_ALL: 'C' };

/** 25 MB messages stand in queues as well as in what is handed in. */
const TMPFS = 'size=512m,mode=0755';

const SETUP = `
set -eu
mount -t tmpfs -o ${TMPFS} tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount -t tmpfs -o mode=0755 tmpfs "$1/root/dev"
for node in null zero full random urandom tty; do
  : >"$1/root/dev/$node"; mount --bind "/dev/$node" "$1/root/dev/$node"
done
ln -s /proc/self/fd "$1/root/dev/fd"
ln -s /proc/self/fd/1 "$1/root/dev/stdout"
ln -s /proc/self/fd/2 "$1/root/dev/stderr"
read -r pid rest </proc/self/stat
mount -t proc proc "$1/root/proc"
cd "$1/root"
# Said from inside: whoever entered this process's root before it has changed would write to the machine's own files.
exec chroot . /bin/sh -c 'echo "$0"; exec /bin/cat' "$pid"
`;

/** Open a box in a network namespace. Needs root. */
export async function openBox(root: string, net: Namespace): Promise<Box> {
  const mountPoint = join(cacheDir, 'mnt');
  await mkdir(mountPoint, { recursive: true });
  const unshare = ['--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child=KILL', '--propagation', 'private'];
  const first = net.spawn('unshare', [...unshare, 'sh', '-c', SETUP, root, mountPoint], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = once(first, 'close');
  let complaint = '';
  first.stderr?.on('data', (chunk: Buffer) => {
    complaint += chunk;
  });
  if (!first.stdout) throw new Error('no pipe from the first process');
  const [pid] = (await Promise.race([
    once(createInterface(first.stdout), 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) }),
    ended.then(() => [undefined]),
  ])) as [string | undefined];
  if (pid === undefined) throw new Error(`cannot open a box of ${root}: ${complaint.trim()}`);

  const enter = ['--target', pid, '--mount', '--pid', '--net', '--ipc', '--uts', '--root', '--wd', '--'];
  const run: Box['run'] = async (command, options = {}) => {
    const ran = await net.run('nsenter', [...enter, 'env', '-i', ...pairs(ENV), ...command], options);
    if (ran.code === 0) return ran;
    throw new Error(
      `${command.join(' ')}: exit status ${ran.code}\n${ran.stdout.slice(-4000)}${ran.stderr.slice(-4000)}`,
    );
  };
  return {
    run,
    spawn: (command) =>
      spawn('nsenter', [...enter, 'env', '-i', ...pairs(ENV), ...command], { stdio: ['ignore', 'pipe', 'pipe'] }),
    write: async (files) => {
      const script = 'mkdir -p "$(dirname "$0")" && exec cat >"$0"';
      for (const [path, input] of Object.entries(files)) await run(['sh', '-c', script, path], { input });
    },
    close: async () => {
      first.stdin?.end();
      await ended;
    },
  };
}

function pairs(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}
