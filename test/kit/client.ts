/** A plain SMTP host for tests: says a line, waits for the whole reply. No library, so nothing is hidden. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

/** The connection ended where a reply was due. */
export class Gone extends Error {
  override readonly name = 'Gone';
}

export class Client {
  readonly socket: Socket;
  #rest = '';
  readonly #lines: string[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    const end = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.on('data', (chunk: Buffer) => {
      const all = (this.#rest + chunk.toString('latin1')).split('\r\n');
      this.#rest = all.pop() as string;
      this.#lines.push(...all);
      this.#wake?.();
    });
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
  }

  /** Over a stream in memory, or whatever else is connected already. */
  static over(stream: Duplex): Client {
    return new Client(stream as Socket);
  }

  static async connect(port: number, host = '127.0.0.1', localAddress?: string, localPort?: number): Promise<Client> {
    const socket = connect({
      port,
      host,
      noDelay: true,
      ...(localAddress !== undefined && { localAddress }),
      ...(localPort !== undefined && { localPort }),
    });
    try {
      await once(socket, 'connect');
    } catch {
      throw new Gone('not connected');
    }
    return new Client(socket);
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** The next whole reply, its lines joined by LF. */
  async reply(): Promise<string> {
    const lines: string[] = [];
    for (;;) {
      while (this.#lines.length === 0) {
        if (this.#ended) throw new Gone(`the connection ended after ${JSON.stringify(lines)}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const line = this.#lines.shift() as string;
      lines.push(line);
      if (line[3] !== '-') return lines.join('\n');
    }
  }

  async ask(line: string): Promise<string> {
    this.write(`${line}\r\n`);
    return this.reply();
  }

  /** STARTTLS and the handshake; what is said from here on goes over TLS. */
  async startTls(options: ConnectionOptions = {}): Promise<Client> {
    const answer = await this.ask('STARTTLS');
    if (!answer.startsWith('220')) throw new Error(`STARTTLS: ${answer}`);
    return this.secure(options);
  }

  /** The handshake alone. */
  async secure(options: ConnectionOptions = {}): Promise<Client> {
    this.socket.removeAllListeners('data');
    const secure = connectTls({ socket: this.socket, rejectUnauthorized: false, ...options });
    const client = new Client(secure);
    await once(secure, 'secureConnect');
    return client;
  }

  close(): void {
    this.socket.destroy();
  }
}

/** The code of a reply. */
export function codeOf(reply: string): number {
  return Number(reply.slice(0, 3));
}
