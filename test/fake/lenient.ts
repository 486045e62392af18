/**
 * A far server that is as lenient as the worst of them: CR, LF, CRLF and CR CR LF end a line, NUL octets are dropped, and
 * a lone dot between any two of these ends a body. Whoever lets such bytes through to it has been smuggled past.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export type LenientMessage = {
  readonly from: string;
  readonly recipients: readonly string[];
  readonly lines: readonly string[];
};

export class LenientSink {
  readonly messages: LenientMessage[] = [];
  /** everything that was ever read, as one string for each connection (latin1) */
  readonly heard: string[] = [];
  readonly #server: Server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  static async start(): Promise<LenientSink> {
    const sink = new LenientSink();
    sink.#server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 });
    await once(sink.#server, 'listening');
    return sink;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const at = this.heard.push('') - 1;
    const session = new Session((message) => this.messages.push(message));
    socket.write('220 lenient.example.net ESMTP\r\n');
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      this.heard[at] += text;
      const replies = session.read(text);
      if (replies !== '') socket.write(replies, 'latin1');
      if (session.hasQuit) socket.end();
    });
  }
}

/** The dialog, one character at a time, so that no segment border matters. */
class Session {
  hasQuit = false;
  readonly #take: (message: LenientMessage) => void;
  #line = '';
  #lastWasCr = false;
  #from = '';
  #recipients: string[] = [];
  #body: string[] | undefined;

  constructor(take: (message: LenientMessage) => void) {
    this.#take = take;
  }

  read(text: string): string {
    let replies = '';
    for (const c of text) {
      if (c === '\0') continue;
      if (c === '\n' && this.#lastWasCr) {
        this.#lastWasCr = false;
        continue;
      }
      this.#lastWasCr = c === '\r';
      if (c !== '\r' && c !== '\n') {
        this.#line += c;
        continue;
      }
      const line = this.#line;
      this.#line = '';
      replies += this.#body ? this.#bodyLine(this.#body, line) : this.#command(line);
    }
    return replies;
  }

  #bodyLine(body: string[], line: string): string {
    if (line !== '.') {
      body.push(line);
      return '';
    }
    this.#take({ from: this.#from, recipients: this.#recipients, lines: body });
    this.#body = undefined;
    this.#recipients = [];
    return '250 2.0.0 taken\r\n';
  }

  #command(line: string): string {
    const verb = line.slice(0, 4).toUpperCase();
    switch (verb) {
      case '':
        // What is left of a line end such as CR CR LF.
        return '';
      case 'EHLO':
        return '250-lenient.example.net\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250 8BITMIME\r\n';
      case 'MAIL':
        this.#from = line.slice(10);
        this.#recipients = [];
        return '250 2.1.0 ok\r\n';
      case 'RCPT':
        this.#recipients.push(line.slice(8));
        return '250 2.1.5 ok\r\n';
      case 'DATA':
        this.#body = [];
        return '354 go ahead\r\n';
      case 'QUIT':
        this.hasQuit = true;
        return '221 2.0.0 bye\r\n';
      case 'RSET':
      case 'NOOP':
        return '250 2.0.0 ok\r\n';
      default:
        return '500 5.5.2 what?\r\n';
    }
  }
}
