/**
 * The socket calls that Node lacks, through koffi: listeners with options that must be set before bind, and datagrams to
 * a unix socket. Nothing else in the tree calls C.
 *
 * A wrong prototype here corrupts memory, so there are six, each as its manual page has it. Every return value is
 * checked; a failure is an Error with `code` (EADDRINUSE …) and `syscall`, as Node's own are.
 */
import { chmodSync, chownSync, closeSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';
import { type Family, parseAddress } from './address.ts';

const libc = koffi.load(null);
const calls = {
  socket: libc.func('int socket(int, int, int)'),
  setsockopt: libc.func('int setsockopt(int, int, int, const void *, uint32_t)'),
  bind: libc.func('int bind(int, const void *, uint32_t)'),
  listen: libc.func('int listen(int, int)'),
  fcntl: libc.func('int fcntl(int, int, int)'),
  sendto: libc.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)'),
} as const;

// Numbers of Linux on x86-64 and arm64 (both little-endian), from <sys/socket.h>, <linux/in.h>, <linux/in6.h>.
const AF_UNIX = 1;
const AF_INET = { 4: 2, 6: 10 } as const;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const TRANSPARENT = { 4: { level: 0, name: 19 }, 6: { level: IPPROTO_IPV6, name: 75 } } as const;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SUN_PATH_BYTES = 108;
const F_DUPFD_CLOEXEC = 1030;

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
    setFlag(fd, SOL_SOCKET, SO_REUSEADDR, `SO_REUSEADDR on ${what}`);
    if (of.reusePort) setFlag(fd, SOL_SOCKET, SO_REUSEPORT, `SO_REUSEPORT on ${what}`);
    if (of.family === 6) setFlag(fd, IPPROTO_IPV6, IPV6_V6ONLY, `IPV6_V6ONLY on ${what}`);
    const { level, name } = TRANSPARENT[of.family];
    if (of.transparent) setFlag(fd, level, name, `IP_TRANSPARENT on ${what}`);
    const at = inetAddress(of.family, of.address, of.port);
    checked('bind', what, calls.bind(fd, at, at.length));
    checked('listen', what, calls.listen(fd, of.backlog));
  });
}

/** A second descriptor of the same socket: closing one leaves the other. */
export function duplicate(fd: number): number {
  return checked('fcntl', `descriptor ${fd}`, calls.fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/**
 * A listening unix socket at `path`, owned by us and `gid`. What was left there by an earlier process is replaced.
 * Mode and group are set before it listens, so that nobody can slip in between.
 */
export function openUnixListener(of: UnixListener): number {
  return openWith(AF_UNIX, SOCK_STREAM, of.path, (fd) => {
    const at = unixAddress(of.path);
    rmSync(of.path, { force: true });
    checked('bind', of.path, calls.bind(fd, at, at.length));
    chownSync(of.path, process.getuid?.() ?? 0, of.gid);
    chmodSync(of.path, of.mode);
    checked('listen', of.path, calls.listen(fd, of.backlog));
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
    checked('sendto', path, calls.sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, to, to.length));
  } finally {
    closeSync(fd);
  }
}

/** Opens a socket and prepares it; a failure on the way leaves no descriptor open. */
function openWith(domain: number, type: number, what: string, prepare: (fd: number) => void): number {
  const fd: number = checked('socket', what, calls.socket(domain, type | SOCK_CLOEXEC, 0));
  try {
    prepare(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function setFlag(fd: number, level: number, name: number, what: string): void {
  const one = Buffer.from([1, 0, 0, 0]);
  checked('setsockopt', what, calls.setsockopt(fd, level, name, one, one.length));
}

function checked(syscall: string, what: string, result: number): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  const code = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
  throw Object.assign(new Error(`${syscall} ${what}: ${code}`), { code, syscall, errno });
}

/** struct sockaddr_in or sockaddr_in6 */
function inetAddress(family: Family, address: string, port: number): Buffer {
  const parsed = parseAddress(address);
  if (parsed?.family !== family) throw new TypeError(`${address} is no IPv${family} address`);
  const bytes = Buffer.alloc(family === 4 ? 16 : 28);
  bytes.writeUInt16LE(AF_INET[family], 0);
  bytes.writeUInt16BE(port, 2);
  const [at, width] = family === 4 ? [4, 4] : [8, 16];
  bytes.write(parsed.value.toString(16).padStart(width * 2, '0'), at, 'hex');
  return bytes;
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
