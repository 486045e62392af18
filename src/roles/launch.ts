/**
 * How `postern run` starts a role: the command line that gives it its user, its capabilities and its view of the files.
 *
 *     unshare (own mount namespace) → sh (mounts the code) → setpriv (drops everything) → node
 *
 * Each replaces the one before by exec, so the process id that the supervisor knows is node's, and LISTEN_PID is right.
 */
import { relative } from 'node:path';
import { runPaths } from '../kit/run-dir.ts';
import { type Role, sharedGroup, userOf } from '../kit/users.ts';

/**
 * What each role may do besides what any user may. The guard needs CAP_NET_ADMIN for rules, sets, routes and net sysctls,
 * and CAP_NET_RAW because iptables asks ipset for its version through a raw socket whenever a rule names a set.
 */
const CAPABILITIES: Readonly<Record<Role, readonly string[]>> = {
  guard: ['net_admin', 'net_raw'],
  keeper: [],
  // And CAP_NET_RAW where a host's own address is kept.
  worker: [],
};

/** No prototype tricks through `__proto__`, no code made from text: nothing of ours or below us needs either. */
export const NODE_FLAGS: readonly string[] = ['--disable-proto=throw', '--disallow-code-generation-from-strings'];

export type Program = {
  /** the directory that holds package.json; need not be one that the role's user could enter */
  readonly codeDir: string;
  /** the Node to run; one inside `codeDir` is run from there */
  readonly nodePath: string;
  readonly runDir: string;
  /** workers connect from addresses that are not this machine's: CAP_NET_RAW */
  readonly keepsSource: boolean;
};

export type Launch = {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

/** `postern ARGS` as the user of `role`. `env` is what it gets besides the little that every role gets. */
export function launchOf(
  role: Role,
  args: readonly string[],
  program: Program,
  env: Readonly<Record<string, string>> = {},
): Launch {
  const { code } = runPaths(program.runDir);
  const inside = relative(program.codeDir, program.nodePath);
  const node = inside.startsWith('..') ? program.nodePath : `${code}/${inside}`;
  // The mounts of a slave namespace follow the machine's (an unmounted disk goes away here too), and ours stay ours.
  const mount = 'ulimit -c 0 && mount --bind -o ro,nosuid,nodev "$1" "$2" && shift 2 && exec env LISTEN_PID=$$ "$@"';
  return {
    file: 'unshare',
    args: [
      ...['--mount', '--propagation', 'slave', 'sh', '-c', mount, 'sh', program.codeDir, code],
      ...setpriv(role, program),
      ...[node, ...NODE_FLAGS, `--title=${titleOf(args)}`, `${code}/src/main.ts`, ...args],
    ],
    env: { ...inheritedEnvironment(), ...env },
  };
}

function setpriv(role: Role, { keepsSource }: Program): string[] {
  const { uid, gid } = userOf(role);
  const held = role === 'worker' && keepsSource ? ['net_raw'] : CAPABILITIES[role];
  const capabilities = ['-all', ...held.map((name) => `+${name}`)].join(',');
  return [
    'setpriv',
    ...['--reuid', String(uid), '--regid', String(gid), '--groups', String(sharedGroup().gid)],
    ...['--inh-caps', capabilities, '--ambient-caps', capabilities, '--bounding-set', capabilities],
    // A role never outlives the supervisor: told to end, it drains and goes.
    ...['--no-new-privs', '--pdeathsig', 'TERM'],
  ];
}

/** `postern: worker 2`, from `worker --config F --index 2`. */
function titleOf(args: readonly string[]): string {
  const index = args.indexOf('--index');
  return `postern: ${args[0]}${index < 0 ? '' : ` ${args[index + 1]}`}`;
}

/** Nothing of root's environment but the time zone and our own switches. */
function inheritedEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(([name]) => name === 'TZ' || name.startsWith('POSTERN_'));
  return {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    ...(Object.fromEntries(kept) as Record<string, string>),
  };
}
