/**
 * The calls of the C library, through koffi. Nothing else in the tree calls C.
 *
 * A wrong prototype here corrupts memory, so each stands as its manual page has it. Nothing here waits: sockets are not
 * blocking. A call fails with a negative number; `errnoOf` and `systemError` then say why, asked before any other call.
 */
import { constants } from 'node:os';
import koffi from 'koffi';

const library = koffi.load(null);

export const libc = {
  socket: library.func('int socket(int, int, int)'),
  setsockopt: library.func('int setsockopt(int, int, int, const void *, uint32_t)'),
  getsockopt: library.func('int getsockopt(int, int, int, void *, void *)'),
  bind: library.func('int bind(int, const void *, uint32_t)'),
  listen: library.func('int listen(int, int)'),
  connect: library.func('int connect(int, const void *, uint32_t)'),
  accept4: library.func('int accept4(int, void *, void *, int)'),
  getsockname: library.func('int getsockname(int, void *, void *)'),
  shutdown: library.func('int shutdown(int, int)'),
  close: library.func('int close(int)'),
  read: library.func('long read(int, void *, size_t)'),
  send: library.func('long send(int, const void *, size_t, int)'),
  sendto: library.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)'),
  recvfrom: library.func('long recvfrom(int, void *, size_t, int, void *, void *)'),
  setfsuid: library.func('int setfsuid(uint32_t)'),
  fcntl: library.func('int fcntl(int, int, int)'),
  adjtimex: library.func('int adjtimex(void *)'),
  epoll_create1: library.func('int epoll_create1(int)'),
  epoll_ctl: library.func('int epoll_ctl(int, int, int, const void *)'),
  epoll_wait: library.func('int epoll_wait(int, void *, int, int)'),
} as const;

// Numbers of Linux on x86-64 and arm64 (both little-endian), from <sys/socket.h>, <linux/in.h>, <linux/in6.h>, <sys/epoll.h>.
export const AF_UNIX = 1;
export const AF_INET = { 4: 2, 6: 10 } as const;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_MARK = 36;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const TRANSPARENT = { 4: { level: 0, name: 19 }, 6: { level: IPPROTO_IPV6, name: 75 } } as const;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SHUT_WR = 1;
export const F_DUPFD_CLOEXEC = 1030;
export const EPOLL_CLOEXEC = SOCK_CLOEXEC;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;

/** The handle of a poll in the loop of Node's main thread, and how its callback is called (libuv's own headers). */
export const UV_POLL = 8;
export const UV_READABLE = 1;
koffi.proto('void uv_poll_cb(void *, int, int)');
export const libuv = {
  defaultLoop: library.func('void *uv_default_loop()'),
  handleSize: library.func('size_t uv_handle_size(int)'),
  pollInit: library.func('int uv_poll_init(void *, void *, int)'),
  pollStart: library.func('int uv_poll_start(void *, int, uv_poll_cb *)'),
  pollStop: library.func('int uv_poll_stop(void *)'),
} as const;

/** A function that C can call on this thread, for as long as the process lives. */
export function pollCallback(run: () => void): unknown {
  return koffi.register(run, 'uv_poll_cb *');
}

/** The error number of the call that has just failed. */
export function errnoOf(): number {
  return koffi.errno();
}

/** As Node's own: `bind 192.0.2.1:25: EADDRINUSE` with `code`, `syscall` and `errno`. */
export function systemError(syscall: string, what: string, errno: number = koffi.errno()): NodeJS.ErrnoException {
  const code = nameOf(errno);
  return Object.assign(new Error(`${syscall} ${what}: ${code}`), { code, syscall, errno });
}

/** What the call returned; throws when that says that it failed. */
export function checked(syscall: string, what: string, result: number): number {
  if (result >= 0) return result;
  throw systemError(syscall, what);
}

/** The call with its result checked: an option that is on. */
export function setOn(fd: number, level: number, name: number, what: string): void {
  checked('setsockopt', what, libc.setsockopt(fd, level, name, ONE, ONE.length));
}

const ONE = Buffer.from([1, 0, 0, 0]);

function nameOf(errno: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}

const TIMEX_BYTES = 208;
const TIME_ERROR = 5;

/** Whether something keeps the clock right, as the kernel was told (adjtimex(2)); with `modes` 0 nothing is changed. */
export function clockIsSynchronised(): boolean {
  return libc.adjtimex(Buffer.alloc(TIMEX_BYTES)) !== TIME_ERROR;
}
