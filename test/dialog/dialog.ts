/**
 * Dialog files: what a host and the server behind us say to each other through the gateway, in one script.
 *
 *     # comment                        % KEY VALUE   settings, before the first line
 *     @ PART                           the lines of parts/PART.dialog stand here
 *     c > EHLO a.example               the host says (a line; CRLF is added)
 *     c >> Subject: x\r\n.\r\n         the host says exactly this (\r \n \0 \t \xHH)
 *     c < 250 *                        the host hears this line next (* matches the rest)
 *     c <... 250 SIZE *                the host hears lines until this one
 *     c < EOF                          the host's connection ends            c > FIN, c > RST   the host ends its own
 *     u < MAIL FROM:<a@a.example>      the server hears this line next (over whichever connection)
 *     u <... .                         the server hears lines until this one
 *     u > 250 ok                       the server says; u >> as above; u > FIN, u > RST, u > HANG (says nothing, ever)
 *     u < EOF                          the gateway closes the connection on which the server spoke last
 *     u silent                         the server was told nothing more than what stood here
 *     g > drain                        the worker is told to end
 *     = accept accepted.clean          one record: verdict and class, in order
 *
 * `{3}x` at the beginning of what is said is xxx, and `{3}[x\r\n]` three such lines. The settings are in stage.ts.
 * The server's banner, EHLO and QUIT are spoken for it (`% caps` says what it offers), since the gateway asks when it likes.
 * What either side says can be cut at any place, and the outcome must be the same (`% cuts none` where the segment is the point).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestGateway } from '../kit/gateway.ts';
import type { Attempt } from '../../src/record/events.ts';
import { stage } from './stage.ts';

export type Line = {
  readonly at: number;
  readonly who: 'c' | 'u' | 'g' | '=';
  readonly op: string;
  readonly text: string;
};
export type Script = { readonly settings: ReadonlyMap<string, string>; readonly lines: readonly Line[] };

/** How long one step may wait for the other side before the script counts as broken. */
const STEP_TIMEOUT_MS = 60_000;

export function parseDialog(text: string): Script {
  const settings = new Map<string, string>();
  const lines: Line[] = [];
  const whole = withParts(text);
  whole.split('\n').forEach((raw, i) => {
    const line = raw.replace(/[ \r]+$/, '');
    if (line === '' || line.startsWith('#')) return;
    const setting = /^% (\w+) ?(.*)$/.exec(line);
    if (setting) {
      const key = setting[1] as string;
      settings.set(key, settings.has(key) ? `${settings.get(key)}\n${setting[2]}` : (setting[2] as string));
      return;
    }
    const match = /^([cu]) (>>|>|<\.\.\.|<) ?(.*)$|^(u) (silent)$|^(=) (.*)$|^(g) > (drain)$/.exec(line);
    assert.ok(match, `line ${i + 1} is no line of a dialog: ${line}`);
    if (match[8]) lines.push({ at: i + 1, who: 'g', op: 'drain', text: '' });
    else if (match[6]) lines.push({ at: i + 1, who: '=', op: '=', text: match[7] as string });
    else if (match[4]) lines.push({ at: i + 1, who: 'u', op: 'silent', text: '' });
    else lines.push({ at: i + 1, who: match[1] as 'c' | 'u', op: match[2] as string, text: match[3] as string });
  });
  return { settings, lines };
}

function withParts(text: string): string {
  return text.replace(/^@ (\w+)$/gm, (_all, part: string) =>
    withParts(readFileSync(new URL(`parts/${part}.dialog`, import.meta.url), 'utf8').trimEnd()),
  );
}

/** `\r \n \0 \t \\ \xHH`, and `{N}X` or `{N}[XYZ]` for N times that at the very beginning. */
export function unescape(text: string): Buffer {
  const repeated = /^\{(\d+)\}(?:\[(.*?)\]|(.))(.*)$/s.exec(text);
  const body = repeated ? (repeated[2] ?? repeated[3] ?? '').repeat(Number(repeated[1])) + repeated[4] : text;
  return Buffer.from(
    body.replace(/\\(r|n|0|t|\\|x([0-9a-f]{2}))/gi, (_all, c: string, hex?: string) =>
      hex !== undefined
        ? String.fromCharCode(Number.parseInt(hex, 16))
        : ({ r: '\r', n: '\n', '0': '\0', t: '\t', '\\': '\\' }[c] as string),
    ),
    'latin1',
  );
}

function bytesOf({ op, text }: Line): Buffer {
  return op === '>>' ? unescape(text) : Buffer.concat([unescape(text), Buffer.from('\r\n')]);
}

/** Lines that arrive over a stream, to be waited for one by one. */
class Heard {
  #rest = '';
  readonly #lines: string[] = [];
  /** every line, asked for or not */
  readonly all: string[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(chunk: Buffer): void {
    const all = (this.#rest + chunk.toString('latin1')).split('\r\n');
    this.#rest = all.pop() as string;
    this.#lines.push(...all);
    this.all.push(...all);
    this.#wake?.();
  }
  end(): void {
    this.#ended = true;
    if (this.#rest !== '') this.#lines.push(this.#rest);
    this.#rest = '';
    this.#wake?.();
  }
  /** What is there and was not asked for. */
  get left(): readonly string[] {
    return this.#lines;
  }
  async next(): Promise<string> {
    const deadline = setTimeout(() => this.#fail(), STEP_TIMEOUT_MS);
    while (this.#lines.length === 0 && !this.#ended && !this.#failed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(deadline);
    if (this.#failed) throw new Error(`heard nothing for ${STEP_TIMEOUT_MS} ms`);
    return this.#lines.shift() ?? 'EOF';
  }
  #failed = false;
  #fail(): void {
    this.#failed = true;
    this.#wake?.();
  }
}

/** The server of the script: hellos are spoken for it, the rest is the script's. */
class ScriptedServer {
  readonly heard = new Heard();
  readonly #server: Server;
  readonly #caps: readonly string[];
  readonly #sockets = new Set<Socket>();
  #current: Socket | undefined;
  hang = false;

  constructor(caps: readonly string[]) {
    this.#caps = caps;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket)).unref();
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async say(bytes: Buffer, cut: number): Promise<void> {
    const socket = this.#current;
    if (!socket || socket.destroyed) throw new Error('the server has no connection to speak on');
    await writeCut(socket, bytes, cut);
  }

  end(how: 'FIN' | 'RST'): void {
    if (how === 'FIN') this.#current?.end();
    else this.#current?.resetAndDestroy();
  }

  async closed(): Promise<void> {
    if (this.#current && !this.#current.closed) await once(this.#current, 'close');
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    let rest = '';
    let body = false;
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    socket.write('220 mx.example.net ESMTP\r\n');
    socket.on('data', (chunk: Buffer) => {
      const all = (rest + chunk.toString('latin1')).split('\r\n');
      rest = all.pop() as string;
      for (const line of all) {
        if (!body && /^EHLO /i.test(line)) {
          const lines = ['mx.example.net', ...this.#caps];
          socket.write(lines.map((l, i) => `250${i === lines.length - 1 ? ' ' : '-'}${l}\r\n`).join(''));
        } else if (!body && /^QUIT$/i.test(line)) {
          socket.end('221 bye\r\n');
        } else {
          this.#current = socket;
          if (!body && line === 'DATA') body = true;
          else if (body && line === '.') body = false;
          this.heard.push(Buffer.from(`${line}\r\n`, 'latin1'));
        }
      }
    });
  }
}

/** Writes in two pieces that arrive as two; `cut` 0 or beyond the end is one piece. */
async function writeCut(to: Duplex, bytes: Buffer, cut: number): Promise<void> {
  if (cut <= 0 || cut >= bytes.length) {
    to.write(bytes);
    return;
  }
  to.write(bytes.subarray(0, cut));
  // Two turns of the loop: the reader, in this same process, has taken the first piece by then.
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
  to.write(bytes.subarray(cut));
}

/** Cut what this line says at this place. `isEdge`: beside an octet that means something wherever it stands. */
export type Cut = { readonly line: number; readonly at: number; readonly isEdge: boolean };

const EDGES = Buffer.from('\r\n.\0', 'latin1');

/** What the host was told, and what was recorded of it. */
export type Played = { readonly told: readonly string[]; readonly attempts: readonly Attempt[] };

/** Plays a script once. Throws with the script's line and what was heard instead. */
export async function playDialog(script: Script, cut?: Cut): Promise<Played> {
  const server = new ScriptedServer(
    (script.settings.get('caps') ?? 'PIPELINING,SIZE 1000000,8BITMIME,DSN,ENHANCEDSTATUSCODES')
      .split(',')
      .filter((c) => c !== ''),
  );
  const address = await server.listen();
  if (script.settings.get('server') === 'down') server.close();
  const gateway = await stage(script.settings, address);
  try {
    return await run(script, cut, gateway, server);
  } finally {
    server.close();
    await gateway.close();
  }
}

async function run(
  script: Script,
  cut: Cut | undefined,
  gateway: TestGateway,
  server: ScriptedServer,
): Promise<Played> {
  const host = gateway.connect(script.settings.get('from'));
  const heard = new Heard();
  host.on('data', (chunk: Buffer) => heard.push(chunk));
  host.on('end', () => heard.end());
  host.on('close', () => heard.end());
  host.on('error', () => heard.end());
  let records = 0;
  for (const line of script.lines) {
    try {
      const at = cut?.line === line.at ? cut.at : 0;
      if (line.who === '=') {
        const attempt = (await within(gateway.ledger.recorded(records + 1)))[records++];
        assert.equal(`${attempt?.verdict} ${attempt?.class}`, line.text);
      } else if (line.who === 'g') {
        void gateway.gateway.drain(0);
      } else if (line.op === 'silent') {
        assert.deepEqual(server.heard.left, [], 'the server was told something');
      } else if (line.op.startsWith('>')) {
        await say(line, at, host, server);
      } else if (line.who === 'u' && line.text === 'EOF') {
        await within(server.closed());
      } else {
        await hear(line, line.who === 'c' ? heard : server.heard);
      }
    } catch (error) {
      throw new Error(`line ${line.at} "${line.who} ${line.op} ${line.text}": ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  assert.deepEqual(
    heard.left.filter((line) => line !== ''),
    [],
    'the host heard more than the script says',
  );
  assert.equal(gateway.ledger.attempts.length, records, 'records that the script does not name');
  host.destroy();
  return { told: heard.all, attempts: gateway.ledger.attempts };
}

async function say(line: Line, cut: number, host: Duplex, server: ScriptedServer): Promise<void> {
  if (line.op === '>' && (line.text === 'FIN' || line.text === 'RST')) {
    if (line.who === 'u') server.end(line.text);
    else if (line.text === 'FIN') host.end();
    else host.destroy();
  } else if (line.op === '>' && line.text === 'HANG') {
    // nothing is said; the gateway's deadline must end it
  } else if (line.who === 'c') {
    await writeCut(host, bytesOf(line), cut);
  } else {
    await server.say(bytesOf(line), cut);
  }
}

async function hear(line: Line, heard: Heard): Promise<void> {
  const skipped: string[] = [];
  for (;;) {
    const got = await heard.next();
    const matches = line.text.endsWith('*') ? got.startsWith(line.text.slice(0, -1)) : got === line.text;
    if (matches) return;
    skipped.push(got);
    if (line.op === '<' || got === 'EOF') throw new Error(`heard ${JSON.stringify(skipped.slice(-5))}`);
  }
}

function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${STEP_TIMEOUT_MS} ms`)), STEP_TIMEOUT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Every place at which what either side says can be cut. */
export function* cutsOf(script: Script): Generator<Cut> {
  if (script.settings.get('cuts') === 'none') return;
  for (const line of script.lines) {
    if (!line.op.startsWith('>') || /^(FIN|RST|HANG)$/.test(line.text)) continue;
    const bytes = bytesOf(line);
    const isEdge = (at: number): boolean => EDGES.includes(bytes[at] as number);
    for (let at = 1; at < bytes.length; at++) yield { line: line.at, at, isEdge: isEdge(at - 1) || isEdge(at) };
  }
}
