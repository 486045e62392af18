/**
 * Listeners with options that must be set before bind, and datagrams to a unix socket: what Node lacks.
 *
 * A failure is an Error with `code` (EADDRINUSE …) and `syscall`, as Node's own are.
 */
import { chmodSync, chownSync, closeSync, rmSync } from 'node:fs';
import type { Family } from './address.ts';
import {
  AF_INET,
  AF_UNIX,
  checked,
  F_DUPFD_CLOEXEC,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  libc,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  setOn,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  TRANSPARENT,
} from './libc.ts';
import { toSockaddr } from './sockaddr.ts';

const SUN_PATH_BYTES = 108;

export type TcpListener = {
  readonly family: Family;
  /** literal, of that family */
  readonly address: string;
  readonly port: number;
  /** accept connections to addresses that are not ours: what TPROXY hands over (needs CAP_NET_ADMIN or CAP_NET_RAW) */
  readonly transparent: boolean;
  /** several listeners on one port; the kernel spreads connections over them */
  readonly reusePort: boolean;
  readonly backlog: number;
};

export type UnixListener = {
  readonly path: string;
  readonly mode: number;
  readonly gid: number;
  readonly backlog: number;
};

/** A listening TCP socket, closed on exec; to hand it down, name it in a child's `stdio`. IPv6 listeners take IPv6 only. */
export function openListener(of: TcpListener): number {
  const what = `${of.family === 6 ? `[${of.address}]` : of.address}:${of.port}`;
  return openWith(AF_INET[of.family], SOCK_STREAM, what, (fd) => {
    setOn(fd, SOL_SOCKET, SO_REUSEADDR, `SO_REUSEADDR on ${what}`);
    if (of.reusePort) setOn(fd, SOL_SOCKET, SO_REUSEPORT, `SO_REUSEPORT on ${what}`);
    if (of.family === 6) setOn(fd, IPPROTO_IPV6, IPV6_V6ONLY, `IPV6_V6ONLY on ${what}`);
    const { level, name } = TRANSPARENT[of.family];
    if (of.transparent) setOn(fd, level, name, `IP_TRANSPARENT on ${what}`);
    const at = toSockaddr(of.family, of.address, of.port);
    checked('bind', what, libc.bind(fd, at, at.length));
    checked('listen', what, libc.listen(fd, of.backlog));
  });
}

/** A second descriptor of the same socket: closing one leaves the other. */
export function duplicate(fd: number): number {
  return checked('fcntl', `descriptor ${fd}`, libc.fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/**
 * A listening unix socket at `path`, owned by us and `gid`. What was left there by an earlier process is replaced.
 * Mode and group are set before it listens, so that nobody can slip in between.
 */
export function openUnixListener(of: UnixListener): number {
  return openWith(AF_UNIX, SOCK_STREAM, of.path, (fd) => {
    const at = unixAddress(of.path);
    rmSync(of.path, { force: true });
    checked('bind', of.path, libc.bind(fd, at, at.length));
    chownSync(of.path, process.getuid?.() ?? 0, of.gid);
    chmodSync(of.path, of.mode);
    checked('listen', of.path, libc.listen(fd, of.backlog));
  });
}

/**
 * One datagram to a unix socket, as sd_notify(3) does it; a path that begins with "@" is an abstract address.
 * Never waits: a receiver whose queue is full makes it fail with EAGAIN.
 */
export function sendNotify(path: string, text: string): void {
  const fd = openWith(AF_UNIX, SOCK_DGRAM, path, () => {});
  try {
    const data = Buffer.from(text);
    const to = unixAddress(path);
    checked('sendto', path, libc.sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, to, to.length));
  } finally {
    closeSync(fd);
  }
}

/**
 * What is opened until `open` returns belongs to that user, as rules on a packet's owner see it (setfsuid(2)), while this
 * process keeps its rights. Root alone can do it.
 */
export function asFileUser<T>(uid: number, open: () => T): T {
  const before = libc.setfsuid(uid);
  try {
    return open();
  } finally {
    libc.setfsuid(before);
  }
}

/** The same until what `work` promises is settled; what else this thread opens meanwhile belongs to that user, too. */
export async function asFileUserUntil<T>(uid: number, work: () => Promise<T>): Promise<T> {
  const before = libc.setfsuid(uid);
  try {
    return await work();
  } finally {
    libc.setfsuid(before);
  }
}

/** Opens a socket and prepares it; a failure on the way leaves no descriptor open. */
function openWith(domain: number, type: number, what: string, prepare: (fd: number) => void): number {
  const fd: number = checked('socket', what, libc.socket(domain, type | SOCK_CLOEXEC, 0));
  try {
    prepare(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_un, as long as the name needs: an abstract name has no final NUL and counts each of its bytes. */
function unixAddress(path: string): Buffer {
  const isAbstract = path.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (name.length > SUN_PATH_BYTES)
    throw new RangeError(`${path} is too long for a socket: at most ${SUN_PATH_BYTES - 1} bytes`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX, 0);
  return Buffer.concat([family, name]);
}
