/**
 * A far SMTP server for tests: it takes mail and remembers it to the byte, or misbehaves at a chosen stage.
 *
 *     const fake = await startFakeUpstream({ misbehave: ({ stage }) => (stage === 'dot' ? 'rst' : undefined) });
 *     … deliver to fake.endpoint …
 *     await fake.until(() => fake.messages.length === 1);
 *     await fake.close();
 *
 * A recipient such as <550@b.example> is answered with that code. Its own parser, so that it shares no mistake with what it tests. All replies to one segment leave in one segment.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';

export const STAGES = [
  'connect',
  'banner',
  'ehlo',
  'starttls',
  'auth',
  'mail',
  'rcpt',
  'data',
  'body',
  'dot',
  'rset',
  'quit',
] as const;
/** `connect` is before anything is said; `body` when the first bytes of a body are there; `dot` when its end is. */
export type Stage = (typeof STAGES)[number];

/** Instead of the proper answer at a stage. */
export type Misbehaviour =
  /** says nothing any more; from `body` on it reads nothing either */
  | 'hang'
  | 'rst'
  | 'fin'
  /** bytes that are no reply */
  | 'garbage'
  /** a reply of 2 MB */
  | 'huge'
  /** the proper reply, one byte every `dripMs`; it counts as given when it is out */
  | 'drip'
  /** one reply too many: behind the proper one, or before it, in the same segment */
  | 'extra'
  | 'extra-first'
  /** a success that answers something else: 250 to DATA, 354 to all others */
  | 'wrong-code'
  /** the same as `extra`; at `data` it is 354 and already the reply to the message */
  | 'early'
  /** at `dot`: takes the message, then resets or says nothing */
  | 'accept-rst'
  | 'accept-hang'
  /** any reply; 421 closes; success is a success */
  | { readonly reply: string }
  /** like `extra` and `extra-first` with other words */
  | { readonly extra: string; readonly isFirst: boolean };

export type Moment = {
  readonly stage: Stage;
  /** counted from 1 over the server's life */
  readonly connection: number;
  /** messages begun on this connection before, by an accepted MAIL */
  readonly transactions: number;
  /** the command as it came, `""` where there is none */
  readonly line: string;
};

export type Message = {
  readonly connection: number;
  readonly isEncrypted: boolean;
  readonly user: string | undefined;
  /** with brackets and parameters: `<a@example.net> SIZE=10` */
  readonly from: string;
  readonly recipients: readonly string[];
  /** as on the wire: dot-stuffed, with the last CRLF, without the lone dot */
  readonly body: Buffer;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** of what the host has sent: dots unstuffed, the first field left out if it is a Received */
  readonly contentSha256: string;
  readonly messageId: string | undefined;
};

export type FakeEvent =
  | { readonly event: 'listening'; readonly address: string; readonly port: number }
  | { readonly event: 'connect'; readonly connection: number; readonly remote: string }
  | { readonly event: 'tls'; readonly connection: number; readonly servername: string | false | null }
  /** commands with the same `segment` came in one */
  | { readonly event: 'command'; readonly connection: number; readonly segment: number; readonly line: string }
  | ({ readonly event: 'message' } & Message)
  | { readonly event: 'close'; readonly connection: number };

export type FakeOptions = {
  /** default 127.0.0.1 and a free port */
  readonly host?: string;
  readonly port?: number;
  /** the keywords of EHLO but for STARTTLS and AUTH; can be changed later at `fake.capabilities` */
  readonly capabilities?: readonly string[];
  /** answers EHLO with 502 */
  readonly isOld?: boolean;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** offers AUTH, inside TLS if there is any */
  readonly auth?: { readonly username: string; readonly password: string; readonly mechanisms?: string };
  readonly misbehave?: (moment: Moment) => Misbehaviour | undefined;
  readonly dripMs?: number;
  /** how fast bodies are read */
  readonly readBytesPerSecond?: number;
  readonly onEvent?: (event: FakeEvent) => void;
};

export const ALL_CAPABILITIES = ['PIPELINING', 'SIZE 52428800', '8BITMIME', 'SMTPUTF8', 'DSN', 'ENHANCEDSTATUSCODES'];

export async function startFakeUpstream(options: FakeOptions = {}): Promise<FakeUpstream> {
  const fake = new FakeUpstream(options);
  await fake.listen();
  return fake;
}

export class FakeUpstream {
  /** every message that was taken, in order */
  readonly messages: Message[] = [];
  readonly commands: { readonly connection: number; readonly segment: number; readonly line: string }[] = [];
  readonly options: FakeOptions;
  capabilities: readonly string[];
  misbehave: ((moment: Moment) => Misbehaviour | undefined) | undefined;
  /** connections now, at most, and ever */
  open = 0;
  peak = 0;
  total = 0;
  segments = 0;
  /** bytes of bodies read so far */
  bodyBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #watchers = new Set<() => void>();

  constructor(options: FakeOptions) {
    this.options = options;
    this.capabilities = options.capabilities ?? ALL_CAPABILITIES;
    this.misbehave = options.misbehave;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** As `smarthost.servers` takes it. */
  get endpoint(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  async listen(port = this.options.port ?? 0): Promise<void> {
    const host = this.options.host ?? '127.0.0.1';
    this.#server.listen({ port, host, backlog: 4096 });
    await once(this.#server, 'listening');
    this.emit({ event: 'listening', address: host, port: this.port });
  }

  /** Resolves when it is so, looked at after each event; rejects after `timeoutMs`. */
  until(isSo: () => boolean, timeoutMs = 60_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!isSo()) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`not so within ${timeoutMs} ms: ${isSo.toString()}`));
      }, timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  emit(event: FakeEvent): void {
    if (event.event === 'message') this.messages.push(event);
    if (event.event === 'command') {
      if (this.commands.length >= 100_000) this.commands.splice(0, 50_000);
      this.commands.push(event);
    }
    this.options.onEvent?.(event);
    this.look();
  }

  look(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /** Writes to every connection, unasked. */
  interject(text: string): void {
    for (const socket of this.#sockets) socket.write(text);
  }

  /** Resets every connection; goes on listening. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Stops listening and drops every connection. Safe to call twice. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    const connection = ++this.total;
    this.peak = Math.max(this.peak, ++this.open);
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.open--;
      this.#sockets.delete(socket);
      this.emit({ event: 'close', connection });
    });
    this.emit({ event: 'connect', connection, remote: `${socket.remoteAddress}` });
    new Connection(this, socket, connection).greet();
  }
}

/** One connection: what was said so far, and what is to be said now. */
class Connection {
  readonly #fake: FakeUpstream;
  readonly #number: number;
  #socket: Socket;
  #input: Buffer = Buffer.alloc(0);
  #isDeaf = false;
  /** commands wait while a reply is dripping */
  #isDripping = false;
  #transactions = 0;
  #helo = false;
  #from: string | undefined;
  #recipients: string[] = [];
  #user: string | undefined;
  #authLines: string[] | undefined;
  /** while a body is read: its pieces, and the last four bytes before the next piece */
  #body: Buffer[] | undefined;
  #tail: Buffer = Buffer.alloc(0);
  #isDiscarding = false;
  /** octets of a chunk that are still to come; 0: the body ends in a lone dot */
  #chunkLeft = 0;

  constructor(fake: FakeUpstream, socket: Socket, number: number) {
    this.#fake = fake;
    this.#number = number;
    this.#socket = socket;
  }

  greet(): void {
    this.#listen();
    if (this.#at('connect', '', undefined)) return;
    this.#answer('banner', '', `220 fake.example.net ESMTP ready c${this.#number}`);
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    // allowHalfOpen is off: the other half is closed when the client has ended.
  }

  #read(chunk: Buffer): void {
    const segment = ++this.#fake.segments;
    this.#socket.cork();
    try {
      let rest: Buffer | undefined = chunk;
      if (this.#body) rest = this.#readBody(chunk);
      if (!rest) return;
      this.#input = Buffer.concat([this.#input, rest]);
      this.#runCommands(segment);
    } finally {
      this.#socket.uncork();
      this.#fake.look();
    }
  }

  #runCommands(segment: number): void {
    for (let end = 0; !this.#isDeaf && !this.#isDripping; ) {
      end = this.#input.indexOf('\r\n');
      if (end < 0) return;
      const line = this.#input.toString('latin1', 0, end);
      this.#input = this.#input.subarray(end + 2);
      this.#fake.emit({ event: 'command', connection: this.#number, segment, line });
      this.#command(line);
      if (!this.#body) continue;
      const after = this.#input;
      this.#input = Buffer.alloc(0);
      const behind = after.length > 0 ? this.#readBody(after) : undefined;
      if (!behind) return;
      this.#input = behind;
    }
  }

  #command(line: string): void {
    if (this.#authLines) return this.#authLine(line);
    const verb = /^[A-Za-z]*/.exec(line)?.[0].toUpperCase() ?? '';
    switch (verb) {
      case 'EHLO':
        if (this.#fake.options.isOld) return this.#answer('ehlo', line, '502 5.5.1 What is EHLO?');
        return this.#answer('ehlo', line, this.#ehlo(), () => this.#hello());
      case 'HELO':
        return this.#answer('ehlo', line, '250 fake.example.net', () => this.#hello());
      case 'STARTTLS':
        return this.#startTls(line);
      case 'AUTH':
        return this.#auth(line);
      case 'MAIL':
        return this.#mail(line);
      case 'RCPT':
        return this.#rcpt(line);
      case 'DATA':
        return this.#data(line);
      case 'BDAT':
        return this.#bdat(line);
      case 'RSET':
        return this.#answer('rset', line, '250 2.0.0 reset', () => this.#clear());
      case 'NOOP':
        return this.#say('250 2.0.0 nothing done');
      case 'QUIT':
        this.#answer('quit', line, '221 2.0.0 bye');
        this.#socket.end();
        return;
      default:
        return this.#say(`500 5.5.2 not a command`);
    }
  }

  #ehlo(): string {
    const { tls, auth } = this.#fake.options;
    const isEncrypted = this.#socket instanceof TLSSocket;
    const lines = ['fake.example.net', ...this.#fake.capabilities];
    if (tls && !isEncrypted) lines.push('STARTTLS');
    if (auth && (isEncrypted || !tls)) lines.push(`AUTH ${auth.mechanisms ?? 'PLAIN LOGIN'}`);
    return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}`).join('\r\n');
  }

  #hello(): void {
    this.#helo = true;
    this.#clear();
  }

  #clear(): void {
    this.#from = undefined;
    this.#recipients = [];
  }

  #mail(line: string): void {
    const from = line.replace(/^MAIL FROM:/i, '');
    if (!this.#helo) return this.#say('503 5.5.1 EHLO first');
    if (this.#from !== undefined) return this.#say('503 5.5.1 nested MAIL');
    this.#answer('mail', line, `250 2.1.0 sender ${from} ok`, () => {
      this.#from = from;
      this.#transactions++;
    });
  }

  #rcpt(line: string): void {
    const to = line.replace(/^RCPT TO:/i, '');
    if (this.#from === undefined) return this.#say('503 5.5.1 MAIL first');
    const [, code] = /^<([45]\d\d)@/.exec(to) ?? [];
    if (code !== undefined) return this.#say(`${code} ${code[0]}.1.1 nobody of that name`);
    this.#answer('rcpt', line, `250 2.1.5 recipient ${to} ok`, () => this.#recipients.push(to));
  }

  #data(line: string): void {
    if (this.#recipients.length === 0) return this.#say('503 5.5.1 no valid recipients');
    this.#answer('data', line, '354 go ahead', () => this.#beginBody());
  }

  /** RFC 3030: as one last chunk, which is all that is asked for here. */
  #bdat(line: string): void {
    if (!this.#fake.capabilities.includes('CHUNKING')) return this.#say('500 5.5.2 not a command');
    const [, size] = /^BDAT ([1-9]\d*) LAST$/.exec(line) ?? [];
    if (size === undefined || this.#recipients.length === 0) return this.#say('503 5.5.1 no chunk now');
    this.#beginBody();
    this.#chunkLeft = Number(size);
  }

  #beginBody(): void {
    this.#chunkLeft = 0;
    this.#body = [];
    this.#tail = Buffer.from('\r\n');
    this.#isDiscarding = false;
  }

  /** Reads on to the lone dot; what is behind it, if it was there. */
  #readBody(chunk: Buffer): Buffer | undefined {
    const body = this.#body as Buffer[];
    if (body.length === 0 && !this.#isDiscarding && this.#at('body', '', undefined)) this.#isDiscarding = true;
    if (!this.#isDiscarding) body.push(chunk);
    this.#fake.bodyBytes += chunk.length;
    this.#slowDown(chunk.length);
    if (this.#chunkLeft > 0) return this.#readChunk(chunk);
    const joined = Buffer.concat([this.#tail, chunk]);
    const at = joined.indexOf('\r\n.\r\n');
    if (at < 0) {
      this.#tail = joined.subarray(-4);
      this.#fake.look();
      return undefined;
    }
    const behind = joined.subarray(at + 5);
    this.#body = undefined;
    const isLost = this.#isDiscarding || this.#isDeaf;
    if (!isLost) this.#dot(Buffer.concat(body).subarray(0, -behind.length - 3));
    return behind;
  }

  #readChunk(chunk: Buffer): Buffer | undefined {
    const part = Math.min(chunk.length, this.#chunkLeft);
    this.#chunkLeft -= part;
    if (this.#chunkLeft > 0) {
      this.#fake.look();
      return undefined;
    }
    const body = Buffer.concat(this.#body as Buffer[]);
    const behind = chunk.subarray(part);
    this.#body = undefined;
    // Remembered as it would have come with DATA.
    if (!this.#isDiscarding && !this.#isDeaf) this.#dot(stuffed(body.subarray(0, body.length - behind.length)));
    return behind;
  }

  #slowDown(bytes: number): void {
    const rate = this.#fake.options.readBytesPerSecond;
    if (!rate) return;
    this.#socket.pause();
    setTimeout(() => this.#socket.resume(), (1000 * bytes) / rate);
  }

  #dot(body: Buffer): void {
    this.#answer('dot', '', `250 2.0.0 taken as ${this.#fake.messages.length + 1}`, () => {
      // Remembered before it is answered: what a client was told is here, is here.
      this.#fake.emit({ event: 'message', ...this.#message(body) });
    });
    this.#clear();
  }

  #message(body: Buffer): Message {
    const content = contentOf(body);
    return {
      connection: this.#number,
      isEncrypted: this.#socket instanceof TLSSocket,
      user: this.#user,
      from: this.#from ?? '',
      recipients: this.#recipients,
      body,
      sizeBytes: body.length,
      sha256: sha256(body),
      contentSha256: sha256(content),
      messageId: /^Message-ID:[ \t]*([^\r]*)/im.exec(content.toString('latin1', 0, 16_384))?.[1],
    };
  }

  #startTls(line: string): void {
    const { tls } = this.#fake.options;
    if (!tls) return this.#say('502 5.5.1 no TLS here');
    this.#answer('starttls', line, '220 2.0.0 ready for TLS', () => {
      const clear = this.#socket;
      clear.removeAllListeners('data');
      queueMicrotask(() => {
        const secure = new TLSSocket(clear, { isServer: true, secureContext: createSecureContext(tls) });
        secure.on('error', () => clear.destroy());
        secure.on('secure', () => {
          this.#fake.emit({ event: 'tls', connection: this.#number, servername: secure.servername });
        });
        this.#socket = secure;
        this.#helo = false;
        this.#clear();
        this.#listen();
      });
    });
  }

  #auth(line: string): void {
    const { auth } = this.#fake.options;
    if (!auth) return this.#say('502 5.5.1 no AUTH here');
    const [, mechanism, initial] = line.split(' ');
    if (mechanism === 'PLAIN' && initial) {
      const [, username, password] = Buffer.from(initial, 'base64').toString().split('\0');
      return this.#authenticated(line, username, password);
    }
    this.#authLines = [];
    this.#say('334 VXNlcm5hbWU6');
  }

  #authLine(line: string): void {
    const lines = this.#authLines as string[];
    lines.push(Buffer.from(line, 'base64').toString());
    if (lines.length < 2) return this.#say('334 UGFzc3dvcmQ6');
    this.#authLines = undefined;
    this.#authenticated(line, lines[0], lines[1]);
  }

  #authenticated(line: string, username: string | undefined, password: string | undefined): void {
    const { auth } = this.#fake.options;
    const isRight = username === auth?.username && password === auth?.password;
    if (!isRight) return this.#answer('auth', line, `535 5.7.8 not with ${password}`);
    this.#answer('auth', line, '235 2.7.0 welcome', () => {
      this.#user = username;
    });
  }

  /** The proper answer with its effect, unless this stage misbehaves. */
  #answer(stage: Stage, line: string, proper: string, effect: () => void = () => {}): void {
    if (this.#at(stage, line, proper, effect)) return;
    effect();
    this.#say(proper);
  }

  /** Misbehaves if it is to; false: it is not. `proper` undefined: there is nothing to answer at this stage. */
  #at(stage: Stage, line: string, proper: string | undefined, effect: () => void = () => {}): boolean {
    const how = this.#fake.misbehave?.({ stage, line, connection: this.#number, transactions: this.#transactions });
    if (how === undefined) return false;
    const answer = proper ?? '250 2.0.0 nobody asked';
    switch (how) {
      case 'hang':
        this.#hang(stage);
        break;
      case 'rst':
        bare(this.#socket).resetAndDestroy();
        break;
      case 'fin':
        this.#isDeaf = true;
        this.#socket.end();
        break;
      case 'garbage':
        this.#write('\0\xff no reply\n<html>\r\n');
        break;
      case 'huge':
        this.#write(`${'250-much ado about nothing\r\n'.repeat(80_000)}250 end\r\n`);
        break;
      case 'drip':
        this.#drip(`${answer}\r\n`, effect);
        break;
      case 'extra':
      case 'early':
        effect();
        this.#write(`${answer}\r\n250 2.0.0 extra\r\n`);
        break;
      case 'extra-first':
        effect();
        this.#write(`250 2.0.0 extra\r\n${answer}\r\n`);
        break;
      case 'wrong-code':
        this.#say(stage === 'data' ? '250 2.0.0 wrong' : '354 wrong');
        break;
      case 'accept-rst':
        effect();
        bare(this.#socket).resetAndDestroy();
        break;
      case 'accept-hang':
        effect();
        this.#hang(stage);
        break;
      default:
        if ('extra' in how) {
          effect();
          this.#write(how.isFirst ? `${how.extra}\r\n${answer}\r\n` : `${answer}\r\n${how.extra}\r\n`);
          break;
        }
        if (/^[23]/.test(how.reply)) effect();
        this.#say(how.reply);
        if (how.reply.startsWith('421')) {
          this.#isDeaf = true;
          this.#socket.end();
        }
    }
    return true;
  }

  #hang(stage: Stage): void {
    this.#isDeaf = true;
    if (stage === 'body') this.#socket.pause();
  }

  #drip(text: string, effect: () => void): void {
    this.#isDripping = true;
    const drop = (at: number): void => {
      if (this.#socket.destroyed) return;
      if (at === text.length) {
        this.#isDripping = false;
        effect();
        return this.#runCommands(0);
      }
      this.#write(text[at] as string);
      setTimeout(drop, this.#fake.options.dripMs ?? 1000, at + 1);
    };
    drop(0);
  }

  #say(reply: string): void {
    this.#write(`${reply}\r\n`);
  }

  #write(text: string): void {
    if (!this.#socket.destroyed) this.#socket.write(text, 'latin1');
  }
}

/** The TCP socket below, which alone can be reset. */
function bare(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket })._parent ?? socket;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A body without its dot-stuffing and without the Received field on top, if there is one. */
export function contentOf(body: Buffer): Buffer {
  const plain = unstuffed(body);
  if (!/^Received:/i.test(plain.toString('latin1', 0, 9))) return plain;
  let end = plain.indexOf('\r\n');
  while (end >= 0 && (plain[end + 2] === 32 || plain[end + 2] === 9)) end = plain.indexOf('\r\n', end + 2);
  return end < 0 ? Buffer.alloc(0) : plain.subarray(end + 2);
}

function stuffed(body: Buffer): Buffer {
  return Buffer.from(body.toString('latin1').replace(/^\.|(?<=\r\n)\./g, '..'), 'latin1');
}

function unstuffed(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = body[0] === 0x2e ? 1 : 0;
  for (let at = body.indexOf('\r\n.'); at >= 0; at = body.indexOf('\r\n.', at + 2)) {
    parts.push(body.subarray(from, at + 2));
    from = at + 3;
  }
  parts.push(body.subarray(from));
  return Buffer.concat(parts);
}
