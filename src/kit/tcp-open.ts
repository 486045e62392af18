/** Where sockets of our own come from: accepted on a listener that was handed down, or connected to a server. */
import { lookup } from 'node:dns/promises';
import { constants } from 'node:os';
import { type Family, parseAddress } from './address.ts';
import {
  AF_INET,
  checked,
  EPOLLIN,
  errnoOf,
  IPPROTO_TCP,
  libc,
  setOn,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SO_MARK,
  SOCK_STREAM,
  SOL_SOCKET,
  systemError,
  TCP_NODELAY,
  TRANSPARENT,
} from './libc.ts';
import { type Pollable, thePoll } from './poll.ts';
import { type End, fromSockaddr, SOCKADDR_BYTES, toSockaddr } from './sockaddr.ts';
import { TcpSocket } from './tcp.ts';

/** So many are accepted in one turn of the loop, then those that are open get their turn. */
const ACCEPTS_A_TURN = 64;
/** No descriptor is left, or no memory: time for some to come free. */
const EXHAUSTED_MS = 50;
const { EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, EINPROGRESS } = constants.errno;

/** The two ends of an accepted connection: the other side's, and the one that it called. */
export type Accepted = { readonly socket: TcpSocket; readonly remote: End; readonly local: End };

/** Accepts on a listening descriptor that stays open whatever becomes of this. */
export class TcpAcceptor implements Pollable {
  readonly #fd: number;
  readonly #take: (accepted: Accepted) => void;
  readonly #end = Buffer.alloc(SOCKADDR_BYTES);
  readonly #length = Buffer.alloc(4);
  #id: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Throws when the descriptor is no listening socket. Begins to accept with `resume`. */
  constructor(fd: number, backlog: number, take: (accepted: Accepted) => void) {
    this.#fd = fd;
    this.#take = take;
    checked('listen', `descriptor ${fd}`, libc.listen(fd, backlog));
    // Accepted sockets inherit it.
    setOn(fd, IPPROTO_TCP, TCP_NODELAY, `TCP_NODELAY on descriptor ${fd}`);
    checked('fcntl', `descriptor ${fd}`, libc.fcntl(fd, F_SETFL, SOCK_NONBLOCK));
  }

  resume(): void {
    this.#id ??= thePoll().add(this.#fd, EPOLLIN, this);
  }

  /** What comes waits in the kernel. */
  pause(): void {
    clearTimeout(this.#timer);
    if (this.#id !== undefined) thePoll().remove(this.#id, this.#fd, true);
    this.#id = undefined;
  }

  ready(): void {
    for (let count = 0; count < ACCEPTS_A_TURN && this.#id !== undefined; count++) {
      this.#length.writeUInt32LE(SOCKADDR_BYTES, 0);
      const fd = libc.accept4(this.#fd, this.#end, this.#length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return this.#cannot(errnoOf());
      const remote = fromSockaddr(this.#end);
      this.#length.writeUInt32LE(SOCKADDR_BYTES, 0);
      const local = libc.getsockname(fd, this.#end, this.#length) < 0 ? undefined : fromSockaddr(this.#end);
      const socket = remote && local ? socketOf(fd) : undefined;
      if (socket && remote && local) this.#take({ socket, remote, local });
      else libc.close(fd);
    }
  }

  /** accept(2): every error but these belongs to the one connection that has just gone again. */
  #cannot(errno: number): void {
    if (errno === EAGAIN || ![EMFILE, ENFILE, ENOBUFS, ENOMEM].includes(errno)) return;
    this.pause();
    this.#timer = setTimeout(() => this.resume(), EXHAUSTED_MS);
  }
}

const F_SETFL = 4;

/** Undefined when the kernel has no memory to watch one more. */
function socketOf(fd: number): TcpSocket | undefined {
  try {
    return new TcpSocket(fd);
  } catch {
    return undefined;
  }
}

/**
 * A connection to a server by name or address, each of its addresses tried in turn. Rejects with the last error, and
 * with `signal`'s reason when that is aborted before.
 */
export async function connectTcp(host: string, port: number, signal: AbortSignal): Promise<TcpSocket> {
  const addresses = await lookup(host, { all: true, verbatim: true });
  signal.throwIfAborted();
  let last: unknown = new Error(`${host} has no address`);
  for (const [i, { address, family }] of addresses.entries()) {
    try {
      // One that does not answer leaves time for those after it.
      const patience = i < addresses.length - 1 ? AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]) : signal;
      return await connectTo(family as Family, address, port, patience);
    } catch (error) {
      signal.throwIfAborted();
      last = error;
    }
  }
  throw last;
}

const ATTEMPT_MS = 2000;

/**
 * A connection from an address that need not be ours, and with this packet mark (needs CAP_NET_RAW). Its port is
 * any that no other connection of that address has. Rejects as `connectTcp` does.
 */
export async function connectFrom(source: string, markBits: number, to: End, signal: AbortSignal): Promise<TcpSocket> {
  const family = parseAddress(source)?.family ?? 4;
  return await connectTo(family, to.address, to.port, signal, (fd) => {
    const mark = Buffer.alloc(4);
    mark.writeUInt32LE(markBits);
    checked('setsockopt', `SO_MARK for ${source}`, libc.setsockopt(fd, SOL_SOCKET, SO_MARK, mark, mark.length));
    const { level, name } = TRANSPARENT[family];
    setOn(fd, level, name, `IP_TRANSPARENT for ${source}`);
    const from = toSockaddr(family, source, 0);
    // Without SO_REUSEADDR, so that a port whose last connection is in TIME-WAIT is left alone.
    checked('bind', source, libc.bind(fd, from, from.length));
  });
}

/** A connection to an address, after `prepare` has seen its descriptor. The socket is made before this returns. */
export async function connectTo(
  family: Family,
  address: string,
  port: number,
  signal: AbortSignal,
  prepare: (fd: number) => void = () => {},
): Promise<TcpSocket> {
  const what = family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  const to = toSockaddr(family, address, port);
  const fd = checked('socket', what, libc.socket(AF_INET[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    prepare(fd);
    if (libc.connect(fd, to, to.length) < 0 && errnoOf() !== EINPROGRESS) throw systemError('connect', what);
    setOn(fd, IPPROTO_TCP, TCP_NODELAY, what);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
  const socket = new TcpSocket(fd, true);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason as Error);
    };
    const onError = (error: NodeJS.ErrnoException): void => {
      signal.removeEventListener('abort', onAbort);
      reject(Object.assign(error, { message: `connect ${error.code} ${what}` }));
    };
    socket.on('error', onError);
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      resolve(socket);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
