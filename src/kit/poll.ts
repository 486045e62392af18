/**
 * Sockets of our own in Node's event loop: one epoll set for all of them, which libuv polls as one descriptor.
 *
 * libuv's own sockets cost several microseconds for each read and write, in allocation, streams and ticks; at one socket
 * a turn or at hundreds, this costs one wake-up for all. What is ready is served from the check phase, so that promises
 * and ticks run as after any callback of Node's.
 */
import {
  checked,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  libc,
  libuv,
  pollCallback,
  UV_POLL,
  UV_READABLE,
} from './libc.ts';

export interface Pollable {
  /** Called when one of `events` (EPOLLIN …) is so; again and again while it stays so. */
  ready(events: number): void;
}

/** struct epoll_event is packed on x86-64 alone. */
const [EVENT_BYTES, DATA_AT] = process.arch === 'x64' ? [12, 4] : [16, 8];
/** At most so many sockets are served before timers and what else Node has to do get their turn. */
const MAX_EVENTS = 256;
const MAX_ID = 2 ** 32;

class Poll {
  readonly #epoll = checked('epoll_create1', 'poll', libc.epoll_create1(EPOLL_CLOEXEC));
  readonly #handle = Buffer.alloc(Number(libuv.handleSize(UV_POLL)));
  readonly #wake: unknown;
  readonly #all = new Map<number, Pollable>();
  readonly #events = Buffer.alloc(EVENT_BYTES * MAX_EVENTS);
  readonly #control = Buffer.alloc(EVENT_BYTES);
  #lastId = 0;
  #isWoken = false;

  constructor() {
    const serve = (): void => this.#serve();
    this.#wake = pollCallback(() => {
      if (this.#isWoken) return;
      this.#isWoken = true;
      setImmediate(serve);
    });
    checked('uv_poll_init', 'poll', libuv.pollInit(libuv.defaultLoop(), this.#handle, this.#epoll));
  }

  /** Watches a descriptor; the number names it from now on, and is never used again. */
  add(fd: number, events: number, target: Pollable): number {
    // A socket whose number has been closed and given to another is told apart by this.
    do this.#lastId = (this.#lastId + 1) % MAX_ID;
    while (this.#all.has(this.#lastId));
    if (this.#all.size === 0) libuv.pollStart(this.#handle, UV_READABLE, this.#wake);
    this.#set(EPOLL_CTL_ADD, fd, events, this.#lastId);
    this.#all.set(this.#lastId, target);
    return this.#lastId;
  }

  /** 0 leaves EPOLLERR and EPOLLHUP, which always count. */
  watch(id: number, fd: number, events: number): void {
    this.#set(EPOLL_CTL_MOD, fd, events, id);
  }

  /** To be followed by the descriptor's close, which takes it out of the set, unless it `staysOpen`. */
  remove(id: number, fd: number, staysOpen = false): void {
    if (!this.#all.delete(id)) return;
    if (staysOpen) this.#set(EPOLL_CTL_DEL, fd, 0, id);
    // The loop may end when nothing is watched any more.
    if (this.#all.size === 0) libuv.pollStop(this.#handle);
  }

  #set(how: number, fd: number, events: number, id: number): void {
    this.#control.writeUInt32LE(events, 0);
    this.#control.writeUInt32LE(id, DATA_AT);
    checked('epoll_ctl', `descriptor ${fd}`, libc.epoll_ctl(this.#epoll, how, fd, this.#control));
  }

  #serve(): void {
    this.#isWoken = false;
    const count = libc.epoll_wait(this.#epoll, this.#events, MAX_EVENTS, 0);
    for (let i = 0, at = 0; i < count; i++, at += EVENT_BYTES) {
      const id = this.#events.readUInt32LE(at + DATA_AT);
      this.#all.get(id)?.ready(this.#events.readUInt32LE(at));
    }
  }
}

let poll: Poll | undefined;

/** The one of this thread, which has to be the main thread: libuv's default loop is its. */
export function thePoll(): Poll {
  return (poll ??= new Poll());
}
