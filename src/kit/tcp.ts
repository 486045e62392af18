/**
 * A connected TCP socket that reads where it is told to and writes at once: the hot path's socket.
 *
 * It has the part of Node's socket that connections use (`ByteSocket`), with one difference: the chunk of a 'data' event
 * is lent for the call, since the next read of any socket writes over it. Each turn of the loop reads once.
 */
import { EventEmitter } from 'node:events';
import { constants } from 'node:os';
import {
  checked,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  errnoOf,
  libc,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_ERROR,
  SOL_SOCKET,
  systemError,
} from './libc.ts';
import { type Pollable, thePoll } from './poll.ts';

/** Where received bytes go, when not into the chunk of a 'data' event: read into directly, and told of. */
export interface Receiver {
  /** A place for what comes next, or undefined: hand it over by 'data'. Asked right before the read. */
  room(): Buffer | undefined;
  /** So many bytes now stand at the beginning of the room that was given. */
  filled(bytes: number): void;
}

/** What connections need of a socket: Node's own (TLS) have it and so has TcpSocket. Chunks of 'data' are only lent. */
export interface ByteSocket {
  /** asked before each read, where the socket has this */
  receiver?: Receiver | undefined;
  on(what: 'data', run: (chunk: Buffer) => void): unknown;
  on(what: 'error', run: (error: Error) => void): unknown;
  on(what: 'end' | 'drain' | 'close', run: () => void): unknown;
  off(what: 'data', run: (chunk: Buffer) => void): unknown;
  off(what: 'error', run: (error: Error) => void): unknown;
  off(what: 'end' | 'drain' | 'close', run: () => void): unknown;
  /** False: some of it waits to be taken; 'drain' says when nothing does. The bytes must stay as they are until then. */
  write(bytes: Buffer): boolean;
  /** Several writes become as few segments as they fill. */
  cork(): void;
  uncork(): void;
  /** Sends what waits, then FIN. */
  end(): unknown;
  /** Sends what waits, then closes without waiting for the other side's FIN: for when nothing more can come. */
  hangUp?(): void;
  /** Closes it at once; 'close' follows. */
  destroy(): unknown;
  pause(): unknown;
  resume(): unknown;
  isPaused(): boolean;
  readonly destroyed: boolean;
  readonly writable: boolean;
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
}

const SCRATCH = Buffer.allocUnsafeSlow(128 * 1024);
/** Corked writes are joined here when they are small: one system call, and a copy that costs less than a second one. */
const JOINED = Buffer.allocUnsafeSlow(64 * 1024);
const { EAGAIN, EINTR, EPIPE, ECONNRESET } = constants.errno;

export class TcpSocket extends EventEmitter implements ByteSocket, Pollable {
  readonly fd: number;
  readonly #id: number;
  receiver: Receiver | undefined;
  destroyed = false;
  #isPaused = false;
  /** what the poll was last told to watch for */
  #watched: number;
  /** waits for the kernel to take it */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #corked: Buffer[] | undefined;
  #isEnding = false;
  #hasSentFin = false;
  #hasSeenEnd = false;
  #isConnecting: boolean;

  /** Takes over the descriptor: not blocking, closed on exec. One that connects emits 'connect' or 'error'. */
  constructor(fd: number, isConnecting = false) {
    super();
    this.fd = fd;
    this.#isConnecting = isConnecting;
    this.#watched = isConnecting ? EPOLLOUT : EPOLLIN;
    this.#id = thePoll().add(fd, this.#watched, this);
  }

  get writable(): boolean {
    return !this.destroyed && !this.#isEnding;
  }

  get writableLength(): number {
    return this.#queuedBytes;
  }

  get writableNeedDrain(): boolean {
    return this.#queuedBytes > 0;
  }

  isPaused(): boolean {
    return this.#isPaused;
  }

  pause(): void {
    // The poll learns it only when something comes meanwhile: most pauses are over before.
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#watch();
  }

  write(bytes: Buffer): boolean {
    if (!this.writable || bytes.length === 0) return this.#queuedBytes === 0;
    if (this.#corked) this.#corked.push(bytes);
    else this.#send(bytes);
    return this.#queuedBytes === 0;
  }

  cork(): void {
    this.#corked ??= [];
  }

  uncork(): void {
    const corked = this.#corked;
    this.#corked = undefined;
    if (!corked || !this.writable) return;
    let joinedBytes = 0;
    for (const bytes of corked) {
      if (joinedBytes + bytes.length > JOINED.length) {
        this.#sendJoined(joinedBytes);
        joinedBytes = 0;
      }
      if (bytes.length > JOINED.length / 4) {
        this.#sendJoined(joinedBytes);
        joinedBytes = 0;
        this.#send(bytes);
      } else {
        bytes.copy(JOINED, joinedBytes);
        joinedBytes += bytes.length;
      }
    }
    this.#sendJoined(joinedBytes);
  }

  end(): void {
    if (!this.writable) return;
    this.uncork();
    this.#isEnding = true;
    if (this.#queuedBytes === 0) this.#sendFin();
  }

  hangUp(): void {
    if (!this.writable) return;
    this.uncork();
    // close(2) goes on sending what the kernel has, and then FIN.
    if (this.#queuedBytes === 0) this.destroy();
    else this.end();
  }

  destroy(error?: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    thePoll().remove(this.#id, this.fd);
    libc.close(this.fd);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#corked = undefined;
    process.nextTick(() => {
      if (error) this.emit('error', error);
      this.emit('close');
    });
  }

  /**
   * Gives up the descriptor for another owner, who finds it as it stands: nothing waits to be sent. Emits nothing more.
   */
  release(): number {
    this.destroyed = true;
    thePoll().remove(this.#id, this.fd, true);
    return this.fd;
  }

  ready(events: number): void {
    if (this.#isConnecting) return this.#connected();
    if (events & EPOLLOUT) this.#sendQueued();
    if (this.destroyed || !(events & (EPOLLIN | EPOLLERR | EPOLLHUP))) return;
    if (this.#isPaused || this.#hasSeenEnd) return this.#unwatched(events);
    // Also after an error: a reply that came before a reset is read first, and the error when nothing is left.
    this.#read(events);
  }

  /** Something is there that nobody wants now. An error, or FIN of both sides, cannot be left out of what is watched. */
  #unwatched(events: number): void {
    if (events & EPOLLERR) return this.#fail('read', this.#socketError() || ECONNRESET);
    if (events & EPOLLHUP) return this.destroy();
    this.#watch();
  }

  #read(events: number): void {
    const room = this.receiver?.room();
    const into = room ?? SCRATCH;
    const bytes = Number(libc.read(this.fd, into, into.length));
    if (bytes > 0) {
      if (room) this.receiver?.filled(bytes);
      else this.emit('data', SCRATCH.subarray(0, bytes));
    } else if (bytes === 0) this.#ended();
    else {
      const errno = errnoOf();
      if (errno !== EAGAIN && errno !== EINTR) this.#fail('read', errno);
      else if (events & EPOLLERR) this.#fail('read', this.#socketError() || ECONNRESET);
    }
  }

  #ended(): void {
    this.#hasSeenEnd = true;
    if (this.#hasSentFin) return this.destroy();
    this.emit('end');
    if (!this.destroyed) this.#watch();
  }

  #watch(): void {
    if (this.destroyed || this.#isConnecting) return;
    const wanted = (this.#isPaused || this.#hasSeenEnd ? 0 : EPOLLIN) | (this.#queuedBytes > 0 ? EPOLLOUT : 0);
    if (wanted === this.#watched) return;
    this.#watched = wanted;
    thePoll().watch(this.#id, this.fd, wanted);
  }

  #sendJoined(bytes: number): void {
    if (bytes > 0) this.#send(JOINED.subarray(0, bytes), true);
  }

  /** At once as far as the kernel takes it. `isLent`: the bytes change after this call. */
  #send(bytes: Buffer, isLent = false): void {
    // The one before may have failed; the number of a closed descriptor is somebody else's soon.
    if (this.destroyed) return;
    let sent = 0;
    if (this.#queuedBytes === 0) {
      sent = Number(libc.send(this.fd, bytes, bytes.length, MSG_NOSIGNAL));
      if (sent < 0) {
        const errno = errnoOf();
        if (errno !== EAGAIN && errno !== EINTR) return this.#fail('write', errno);
        sent = 0;
      }
      if (sent === bytes.length) return;
    }
    const rest = bytes.subarray(sent);
    this.#queue.push(isLent ? Buffer.from(rest) : rest);
    this.#queuedBytes += rest.length;
    this.#watch();
  }

  #sendQueued(): void {
    while (this.#queue.length > 0) {
      const [first] = this.#queue as [Buffer];
      const sent = Number(libc.send(this.fd, first, first.length, MSG_NOSIGNAL));
      if (sent < 0) {
        const errno = errnoOf();
        if (errno === EAGAIN || errno === EINTR) return;
        return this.#fail('write', errno);
      }
      this.#queuedBytes -= sent;
      if (sent < first.length) {
        this.#queue[0] = first.subarray(sent);
        return;
      }
      this.#queue.shift();
    }
    if (this.#isEnding) this.#sendFin();
    this.#watch();
    if (!this.destroyed) this.emit('drain');
  }

  #sendFin(): void {
    if (this.#hasSeenEnd) return this.destroy();
    this.#hasSentFin = true;
    libc.shutdown(this.fd, SHUT_WR);
  }

  #connected(): void {
    const errno = this.#socketError();
    if (errno !== 0) return this.#fail('connect', errno);
    this.#isConnecting = false;
    this.#watch();
    this.emit('connect');
  }

  #socketError(): number {
    const value = Buffer.alloc(4);
    const length = Buffer.from([4, 0, 0, 0]);
    checked('getsockopt', `descriptor ${this.fd}`, libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, value, length));
    return value.readInt32LE(0);
  }

  #fail(syscall: string, errno: number): void {
    const what = errno === EPIPE || errno === ECONNRESET ? 'the other side' : `descriptor ${this.fd}`;
    this.destroy(systemError(syscall, what, errno));
  }
}
