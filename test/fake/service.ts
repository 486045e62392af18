/**
 * A scanner that answers as a test says: ClamAV's protocol or Rspamd's, on a socket whose path it keeps when it refuses for a
 * while and comes back, or on loopback.
 */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Behaviour =
  /** this, to every message */
  | { readonly says: string }
  /** the same after so many milliseconds */
  | { readonly says: string; readonly afterMs: number }
  /** nothing, ever */
  | 'hang'
  /** nobody listens */
  | 'refuse'
  /** octets that are no answer, without end */
  | 'garbage';

let made = 0;

export class FakeService {
  readonly kind: 'clamd' | 'rspamd';
  /** messages that were given to it whole */
  readonly messages: Buffer[] = [];
  /** header fields of the last request, by their name in lower case */
  headers: Readonly<Record<string, string | string[] | undefined>> = {};
  /** what ClamAV says of itself */
  version = 'ClamAV 1.0.0';
  /** connections taken */
  connections = 0;
  /** as it stands in the configuration */
  address: string;
  #behaviour: Behaviour;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();

  constructor(kind: 'clamd' | 'rspamd', behaviour: Behaviour, over: 'path' | 'tcp' = 'path') {
    this.kind = kind;
    this.#behaviour = behaviour;
    this.address = over === 'tcp' ? '' : join(tmpdir(), `fake-${kind}-${process.pid}-${made++}`);
  }

  async start(): Promise<this> {
    const server = this.kind === 'clamd' ? createServer((socket) => this.#clamd(socket)) : this.#rspamd();
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
    if (this.address === '') server.listen(0, '127.0.0.1');
    else server.listen(this.address);
    await once(server, 'listening');
    const at = server.address();
    if (typeof at === 'object') this.address = `127.0.0.1:${at?.port}`;
    this.#server = server;
    return this;
  }

  async behave(behaviour: Behaviour): Promise<void> {
    this.#behaviour = behaviour;
    if (behaviour === 'refuse') await this.close();
    else if (!this.#server?.listening) await this.start();
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server?.listening) return;
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(server, 'close');
  }

  #clamd(socket: Socket): void {
    let heard = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      const end = heard.indexOf(0);
      if (heard.toString('latin1', 0, end) === 'zVERSION') {
        socket.end(`${this.version}\0`);
        return;
      }
      const message = end < 0 ? undefined : streamIn(heard.subarray(end + 1));
      if (message) this.#answer(message, socket, (text) => socket.end(`${text}\0`));
    });
  }

  #rspamd(): Server {
    return createHttpServer((request, response) => {
      const pieces: Buffer[] = [];
      this.headers = request.headers;
      request.on('data', (chunk: Buffer) => pieces.push(chunk));
      request.on('error', () => {});
      request.on('end', () => this.#answer(Buffer.concat(pieces), request.socket, (text) => response.end(text)));
    });
  }

  #answer(message: Buffer, socket: Socket, say: (text: string) => void): void {
    this.messages.push(message);
    const now = this.#behaviour;
    if (now === 'hang' || now === 'refuse') return;
    if (now === 'garbage') {
      const more = (): void => {
        if (!socket.destroyed) socket.write('\x7fELF garbage '.repeat(1000), () => setImmediate(more));
      };
      return more();
    }
    if ('afterMs' in now) setTimeout(() => say(now.says), now.afterMs);
    else say(now.says);
  }
}

/** The stream behind zINSTREAM, once its last chunk, of length 0, is there. */
function streamIn(bytes: Buffer): Buffer | undefined {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (length === 0) return Buffer.concat(pieces);
    pieces.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return undefined;
}

/** What Rspamd says of a message. */
export function rspamdSays(action: string, score = 1): { readonly says: string } {
  const symbols = { TEST: { name: 'TEST', score } };
  return { says: JSON.stringify({ action, score, required_score: 15, symbols }) };
}
