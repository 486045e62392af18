/**
 * The server that takes every mail and says exactly what it got. Written without any library of the product or of mail,
 * so that it cannot share a fault with what it judges.
 *
 * As a process: `node sink.ts LISTEN... [--tls CERT KEY]` with LISTEN as `203.0.113.87:587` or `[2001:db8:2::87]:587`.
 * It prints one JSON line for each event (type `SinkEvent`), `ready` first, and ends when its standard input does.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';

export type SinkMessage = {
  readonly kind: 'message';
  /** counted from 1 over all connections of this process */
  readonly connection: number;
  readonly tls: boolean;
  /** the client's EHLO or HELO argument */
  readonly helo: string;
  /** what stood behind `MAIL FROM:` and behind each accepted `RCPT TO:`, parameters included */
  readonly mail: string;
  readonly rcpts: readonly string[];
  /** the header with its last CRLF and without the empty line, one character for each byte */
  readonly header: string;
  readonly bodySizeBytes: number;
  /** of the bytes behind the empty line, dot-stuffing undone */
  readonly bodySha256: string;
  /** of header, empty line and body */
  readonly sha256: string;
  /** CR or LF outside a CRLF, and NUL */
  readonly strayBytes: number;
};
export type SinkEvent =
  | { readonly kind: 'ready' }
  | { readonly kind: 'connection'; readonly connection: number; readonly from: string }
  | SinkMessage
  | { readonly kind: 'closed'; readonly connection: number; readonly commands: readonly string[] };

const SIZE_MAX_BYTES = 64 * 1024 ** 2;
const COMMAND_MAX_BYTES = 4096;
const COMMANDS_MAX = 2000;
const IDLE_TIMEOUT_MS = 300_000;
const EXTENSIONS = [`SIZE ${SIZE_MAX_BYTES}`, '8BITMIME', 'PIPELINING', 'SMTPUTF8', 'DSN', 'ENHANCEDSTATUSCODES'];
const END = Buffer.from('\r\n.\r\n');

/** Undo dot-stuffing (RFC 5321 section 4.5.2): of each line that begins with a dot, that dot goes. */
export function unstuffed(raw: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = raw[0] === 0x2e ? 1 : 0;
  for (let at = raw.indexOf('\r\n.', 0, 'latin1'); at >= 0; at = raw.indexOf('\r\n.', at + 2, 'latin1')) {
    parts.push(raw.subarray(from, at + 2));
    from = at + 3;
  }
  parts.push(raw.subarray(from));
  return Buffer.concat(parts);
}

/** `\r\n\r\n` parts header and body; a message without one is all header. The header may also be empty. */
export function parted(message: Buffer): { readonly header: Buffer; readonly body: Buffer } {
  if (message.subarray(0, 2).equals(Buffer.from('\r\n'))) return { header: Buffer.alloc(0), body: message.subarray(2) };
  const at = message.indexOf('\r\n\r\n');
  return at < 0
    ? { header: message, body: Buffer.alloc(0) }
    : { header: message.subarray(0, at + 2), body: message.subarray(at + 4) };
}

/** A loop over the octets: searching for each line end takes ten times as long with 25 MB. */
function strayBytes(message: Buffer): number {
  let stray = 0;
  for (let at = 0; at < message.length; at++) {
    const byte = message[at];
    if (byte === 0x0d && message[at + 1] === 0x0a) at++;
    else if (byte === 0x0d || byte === 0x0a || byte === 0) stray++;
  }
  return stray;
}

/** Serves one connection: any stream, so that it can be fed without a network. */
export class Connection {
  readonly #socket: Duplex;
  readonly #secure: SecureContext | undefined;
  readonly #print: (event: SinkEvent) => void;
  readonly #number: number;
  readonly #commands: string[] = [];
  #out: Duplex;
  #tls = false;
  #helo = '';
  #mail: string | undefined;
  #rcpts: string[] = [];
  /** bytes of a command that is not whole yet */
  #pending: Buffer = Buffer.alloc(0);
  /** chunks of a body, with a CRLF before the first so that a lone dot is always CRLF.CRLF */
  #body: Buffer[] | undefined;
  #bodySizeBytes = 0;
  #tail: Buffer = Buffer.alloc(0);

  constructor(socket: Duplex, number: number, secure: SecureContext | undefined, print: (event: SinkEvent) => void) {
    this.#socket = socket;
    this.#out = socket;
    this.#number = number;
    this.#secure = secure;
    this.#print = print;
    socket.on('close', () => print({ kind: 'closed', connection: number, commands: this.#commands }));
    this.#listen(socket);
    this.#say('220 sink.example.org ESMTP');
  }

  #listen(socket: Duplex): void {
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => socket.end());
  }

  #say(...lines: string[]): void {
    this.#out.write(lines.map((line) => `${line}\r\n`).join(''));
  }

  #take(chunk: Buffer): void {
    let rest: Buffer | undefined = chunk;
    while (rest && rest.length > 0) rest = this.#body ? this.#takeBody(rest) : this.#takeCommand(rest);
  }

  #takeBody(chunk: Buffer): Buffer | undefined {
    const body = this.#body as Buffer[];
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, END.length - 1)]);
    const inSeam = seam.indexOf(END);
    const at = inSeam >= 0 ? inSeam - this.#tail.length : chunk.indexOf(END);
    if (at < 0 && !(inSeam >= 0)) {
      body.push(chunk);
      this.#bodySizeBytes += chunk.length;
      this.#tail = Buffer.concat([this.#tail, chunk.subarray(-(END.length - 1))]).subarray(-(END.length - 1));
      if (this.#bodySizeBytes > SIZE_MAX_BYTES) this.#socket.destroy();
      return undefined;
    }
    const past = at + END.length;
    body.push(chunk.subarray(0, past));
    const raw = Buffer.concat(body);
    this.#finish(unstuffed(raw.subarray(2, raw.length - 3)));
    return chunk.subarray(past);
  }

  #finish(message: Buffer): void {
    const { header, body } = parted(message);
    const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    this.#print({
      kind: 'message',
      connection: this.#number,
      tls: this.#tls,
      helo: this.#helo,
      mail: this.#mail ?? '',
      rcpts: this.#rcpts,
      header: header.toString('latin1'),
      bodySizeBytes: body.length,
      bodySha256: hash(body),
      sha256: hash(message),
      strayBytes: strayBytes(message),
    });
    this.#body = undefined;
    this.#reset();
    this.#say('250 2.0.0 taken');
  }

  #reset(): void {
    this.#mail = undefined;
    this.#rcpts = [];
  }

  #takeCommand(chunk: Buffer): Buffer | undefined {
    const bytes = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
    const at = bytes.indexOf('\r\n');
    if (at < 0) {
      this.#pending = bytes;
      if (bytes.length > COMMAND_MAX_BYTES) this.#socket.destroy();
      return undefined;
    }
    this.#pending = Buffer.alloc(0);
    const line = bytes.toString('latin1', 0, at);
    if (this.#commands.length < COMMANDS_MAX) this.#commands.push(line);
    return this.#command(line) ? bytes.subarray(at + 2) : undefined;
  }

  /** False when what follows is no longer ours to read. */
  #command(line: string): boolean {
    const verb = (/^[A-Za-z]*/.exec(line)?.[0] ?? '').toUpperCase();
    const to = /^(?:MAIL FROM|RCPT TO): ?(<.*)$/i.exec(line)?.[1];
    switch (verb) {
      case 'EHLO':
      case 'HELO': {
        this.#helo = line.slice(5);
        this.#reset();
        const offers = verb === 'HELO' ? [] : this.#tls || !this.#secure ? EXTENSIONS : [...EXTENSIONS, 'STARTTLS'];
        const lines = ['sink.example.org', ...offers];
        this.#say(...lines.map((text, n) => `250${n === lines.length - 1 ? ' ' : '-'}${text}`));
        return true;
      }
      case 'STARTTLS':
        if (!this.#secure || this.#tls) break;
        this.#say('220 2.0.0 go');
        this.#startTls(this.#secure);
        return false;
      case 'MAIL':
        if (to === undefined || this.#mail !== undefined) break;
        this.#mail = to;
        this.#say('250 2.1.0 sender ok');
        return true;
      case 'RCPT':
        if (to === undefined || this.#mail === undefined) break;
        this.#rcpts.push(to);
        this.#say('250 2.1.5 recipient ok');
        return true;
      case 'DATA':
        if (this.#rcpts.length === 0) break;
        this.#body = [Buffer.from('\r\n')];
        this.#bodySizeBytes = 0;
        this.#tail = Buffer.from('\r\n');
        this.#say('354 go on');
        return true;
      case 'RSET':
        this.#reset();
        this.#say('250 2.0.0 forgotten');
        return true;
      case 'NOOP':
        this.#say('250 2.0.0 ok');
        return true;
      case 'QUIT':
        this.#say('221 2.0.0 bye');
        this.#out.end();
        return false;
    }
    this.#say('503 5.5.1 not now');
    return true;
  }

  #startTls(secureContext: SecureContext): void {
    this.#socket.removeAllListeners('data');
    const secure = new TLSSocket(this.#socket, { isServer: true, secureContext });
    this.#tls = true;
    this.#out = secure;
    this.#reset();
    this.#listen(secure);
  }
}

/** Listens; every event goes to `print`. Resolves when all listeners stand. */
async function listen(
  addresses: readonly string[],
  secure: SecureContext | undefined,
  print: (event: SinkEvent) => void,
): Promise<void> {
  let connections = 0;
  for (const address of addresses) {
    const [, host6, host4, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(address) ?? [];
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const connection = ++connections;
      print({ kind: 'connection', connection, from: socket.remoteAddress ?? '' });
      socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
      new Connection(socket, connection, secure, print);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: host6 ?? host4, port: Number(port) }, resolve);
    });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, cert, key] = process.argv.includes('--tls') ? process.argv.slice(process.argv.indexOf('--tls')) : [];
  const addresses = process.argv.slice(2).filter((argument) => /:\d+$/.test(argument));
  const secure = cert && key ? createSecureContext({ cert: readFileSync(cert), key: readFileSync(key) }) : undefined;
  const print = (event: SinkEvent): void => {
    process.stdout.write(`${JSON.stringify(event)}\n`);
  };
  await listen(addresses, secure, print);
  print({ kind: 'ready' });
  // Whoever started this holds its input: when that one is gone, so are we.
  process.stdin.on('end', () => process.exit(0)).resume();
}
