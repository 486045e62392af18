/**
 * Messages between processes of one machine: one JSON value a line over a unix stream socket.
 *
 * Knows nothing of what is said: the caller hands in `check`, and a line that it does not take, that is no JSON or that
 * is longer than 4 MiB ends the connection. Nothing here waits for a slow reader: `send` says false when the other side
 * is away or has left more than 8 MiB unread, and the message is then the caller's to drop and to count.
 */
import { once } from 'node:events';
import { chmodSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';

export const MAX_LINE_BYTES = 4 * 1024 * 1024;
const MAX_OUTGOING_BYTES = 8 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 2_000;
const FLUSH_TIMEOUT_MS = 4_000;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_LAST_MS = 2_000;
/** sun_path is 108 octets with its NUL; the listener is bound under a longer, temporary name first */
const MAX_PATH_BYTES = 107 - '.4194304'.length;

/** False: not sent, because the other side is away, too slow, or the message is longer than a line may be. */
export type Send = (message: unknown) => boolean;

export type Handlers<In> = {
  /** The message as it is meant, or undefined when it is none: the connection then ends. */
  readonly check: (raw: unknown) => In | undefined;
  readonly onMessage: (message: In) => void;
  /** Once, when the connection has ended, whoever ended it. */
  readonly onDown: (reason: string) => void;
};

export type Peer = {
  readonly send: Send;
  /** The same for a message that is JSON already. */
  readonly sendText: (json: string) => boolean;
  /** Ends the connection when what was sent has gone out, after at most 4 s. Resolves when it has ended. */
  readonly close: () => Promise<void>;
};

function attach<In>(socket: Socket, handlers: Handlers<In>): Peer {
  let parts: Buffer[] = [];
  let partBytes = 0;
  let outgoing = '';
  let outgoingBytes = 0;
  let reason = 'closed by the other side';
  let ending = false;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      handlers.onDown(reason);
      resolve();
    });
  });

  const fail = (why: string): void => {
    reason = why;
    socket.destroy();
  };
  const take = (line: Buffer): void => {
    let message: In | undefined;
    try {
      message = handlers.check(JSON.parse(line.toString('utf8')));
    } catch {
      // not JSON: as malformed as what `check` does not take
    }
    if (message === undefined) fail('a message that is none of ours');
    else handlers.onMessage(message);
  };
  const flush = (): void => {
    if (outgoing !== '' && socket.writable) socket.write(outgoing);
    outgoing = '';
    outgoingBytes = 0;
  };

  socket.on('error', (error: NodeJS.ErrnoException) => {
    reason = error.code ?? error.message;
  });
  socket.on('data', (chunk: Buffer) => {
    let from = 0;
    while (!socket.destroyed) {
      const at = chunk.indexOf(0x0a, from);
      const rest = chunk.subarray(from, at < 0 ? undefined : at);
      if (partBytes + rest.length > MAX_LINE_BYTES) return fail('a line longer than 4 MiB');
      if (at < 0) {
        if (rest.length > 0) parts.push(rest);
        partBytes += rest.length;
        return;
      }
      const line = parts.length === 0 ? rest : Buffer.concat([...parts, rest]);
      parts = [];
      partBytes = 0;
      from = at + 1;
      take(line);
    }
  });

  const sendText = (json: string): boolean => {
    if (ending || !socket.writable) return false;
    const bytes = Buffer.byteLength(json) + 1;
    if (bytes > MAX_LINE_BYTES + 1 || socket.writableLength + outgoingBytes + bytes > MAX_OUTGOING_BYTES) return false;
    // What one turn of the loop says goes out in one write: a busy worker says many small things.
    if (outgoing === '') setImmediate(flush);
    outgoing += `${json}\n`;
    outgoingBytes += bytes;
    return true;
  };

  return {
    send: (message) => !ending && socket.writable && sendText(JSON.stringify(message)),
    sendText,
    close: () => {
      if (!ending) {
        ending = true;
        reason = 'closed here';
        flush();
        socket.end();
        const timer = setTimeout(() => socket.destroy(), FLUSH_TIMEOUT_MS);
        socket.once('close', () => clearTimeout(timer));
      }
      return closed;
    },
  };
}

/** One connection, no second try. Rejects with the system's error when nobody listens, or after 2 s. */
export async function dialChannel<In>(path: string, handlers: Handlers<In>): Promise<Peer> {
  const socket = createConnection(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  }
  return attach(socket, handlers);
}

export type Channel = Peer & { readonly isUp: () => boolean };

export type ChannelHandlers<In> = Handlers<In> & {
  /** The connection stands, first or again: say hello here. `onDown` is called only after this. */
  readonly onUp: (send: Send) => void;
};

/** A connection that comes back by itself, 50 ms to 2 s after it is lost, until `signal` or `close`. */
export function connectChannel<In>(path: string, handlers: ChannelHandlers<In>, signal: AbortSignal): Channel {
  let peer: Peer | undefined;
  let timer: NodeJS.Timeout | undefined;
  let backoffMs = BACKOFF_FIRST_MS;
  let stopped = signal.aborted;

  const retry = (): void => {
    if (stopped) return;
    timer = setTimeout(dial, backoffMs);
    backoffMs = Math.min(backoffMs * 2, BACKOFF_LAST_MS);
  };
  const dial = (): void => {
    dialChannel<In>(path, {
      check: handlers.check,
      onMessage: (message) => {
        // Only a message proves that it is a keeper that listens, and not one that dies as it starts.
        backoffMs = BACKOFF_FIRST_MS;
        handlers.onMessage(message);
      },
      onDown: (reason) => {
        peer = undefined;
        handlers.onDown(reason);
        retry();
      },
    }).then((connected) => {
      if (stopped) {
        connected.close().catch(() => {});
        return;
      }
      peer = connected;
      handlers.onUp(connected.send);
    }, retry);
  };
  const close = async (): Promise<void> => {
    stopped = true;
    clearTimeout(timer);
    await peer?.close();
  };

  if (!stopped) dial();
  signal.addEventListener('abort', () => void close(), { once: true });
  return {
    send: (message) => peer?.send(message) ?? false,
    sendText: (json) => peer?.sendText(json) ?? false,
    isUp: () => peer !== undefined,
    close,
  };
}

export type ListenOptions<In> = {
  /** permissions of the socket file: who may connect */
  readonly mode: number;
  readonly maxConnections?: number;
  readonly onConnection: (peer: Peer) => Handlers<In>;
};

export type Listener = {
  /** Resolves when the listener and every connection have ended after `signal`. */
  readonly closed: Promise<void>;
};

/**
 * Listen on `path` until `signal`. A file left by a process that is gone is replaced; rejects when somebody still
 * listens there, when the path is something else than a socket, or when it is too long for one.
 */
export async function listenChannel<In>(
  path: string,
  options: ListenOptions<In>,
  signal: AbortSignal,
): Promise<Listener> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new Error(`${path}: longer than ${MAX_PATH_BYTES} octets; choose a shorter run_dir`);
  await refuseIfInUse(path);

  const peers = new Set<Peer>();
  const server = createServer((socket) => {
    let handlers: Handlers<In> | undefined;
    const peer: Peer = attach<In>(socket, {
      check: (raw) => handlers?.check(raw),
      onMessage: (message) => handlers?.onMessage(message),
      onDown: (reason) => {
        peers.delete(peer);
        handlers?.onDown(reason);
      },
    });
    peers.add(peer);
    handlers = options.onConnection(peer);
  });
  server.maxConnections = options.maxConnections ?? 256;

  // Bound under a name of its own and moved into place: the file never stands there with other permissions, and at no
  // moment is there none.
  const temporary = `${path}.${process.pid}`;
  removeFile(temporary);
  server.listen(temporary);
  await once(server, 'listening');
  chmodSync(temporary, options.mode);
  const { ino } = lstatSync(temporary);
  renameSync(temporary, path);

  const closed = new Promise<void>((resolve) => {
    server.once('close', () => resolve());
  });
  const stop = (): void => {
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) removeFile(path);
    server.close();
    for (const peer of peers) void peer.close();
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return { closed };
}

async function refuseIfInUse(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isSocket()) throw new Error(`${path}: is there and is no socket; move it away`);
  try {
    const peer = await dialChannel(path, { check: () => undefined, onMessage() {}, onDown() {} });
    await peer.close();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return;
    throw error;
  }
  throw new Error(`${path}: another process listens there; end it first`);
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // not there: as it should be
  }
}
