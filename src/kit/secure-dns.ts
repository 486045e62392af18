/**
 * Look-ups at a validating resolver on this machine, which says what DNSSEC has shown to be true (the AD bit, RFC 4035
 * section 3.2.3): Node's own resolver does not pass that on.
 *
 * Over TCP alone (RFC 7766): nothing is cut short, and nobody on the way can answer in the resolver's place. Each question has
 * a deadline, and answers are remembered as long as they say.
 */
import { connect } from 'node:net';
import { randomInt } from 'node:crypto';
import { canonicalOf } from './address.ts';
import type { End } from './sockaddr.ts';

export type SecureType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'TLSA';

/** `none`: there is no such name or record. `failed`: nobody knows; `reason` is SERVFAIL (which a forged answer leads to) or another. */
export type Found =
  | { readonly kind: 'found'; readonly isSecure: boolean; readonly values: readonly string[] }
  | { readonly kind: 'none'; readonly isSecure: boolean }
  | { readonly kind: 'failed'; readonly reason: string };

const TYPES: Readonly<Record<SecureType, number>> = { A: 1, MX: 15, TXT: 16, AAAA: 28, TLSA: 52 };
const [NOERROR, NXDOMAIN] = [0, 3];
const [RECURSION_DESIRED, AUTHENTIC, RESPONSE] = [0x0100, 0x0020, 0x8000];
/** RFC 6891, with DO (RFC 3225): without it a resolver need not say AD. */
const OPT = Buffer.from([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
const [MIN_KEPT_S, MAX_KEPT_S] = [1, 3600];
/** That there is nothing: it may be made at any time. */
const NONE_KEPT_S = 60;
const MAX_KEPT = 10_000;
const MAX_PENDING = 1000;
const MAX_VALUES = 100;
const MAX_POINTERS = 20;

type Kept = { readonly untilMs: number; readonly found: Found };

export class SecureDns {
  readonly #server: End;
  readonly #kept = new Map<string, Kept>();
  readonly #asking = new Map<string, Promise<Found>>();

  constructor(server: End) {
    this.#server = server;
  }

  /**
   * Values as text: addresses canonical, an MX as `10 mx.example.org`, strings of a TXT joined, a TLSA as
   * `3 1 1 HEX`. Never rejects; by `timeoutMs` it has failed.
   */
  async ask(name: string, type: SecureType, timeoutMs: number): Promise<Found> {
    const key = `${type} ${name}`;
    const kept = this.#kept.get(key);
    if (kept && kept.untilMs > performance.now()) return kept.found;
    const before = this.#asking.get(key);
    if (before) return await before;
    const query = queryFor(name, TYPES[type]);
    if (!query) return { kind: 'none', isSecure: false };
    if (this.#asking.size >= MAX_PENDING) return { kind: 'failed', reason: `${MAX_PENDING} look-ups wait already` };
    const asking = this.#exchange(query, timeoutMs).then((answer) => this.#take(key, type, query, answer));
    this.#asking.set(key, asking);
    try {
      return await asking;
    } finally {
      this.#asking.delete(key);
    }
  }

  #take(key: string, type: SecureType, query: Buffer, answer: Buffer | string): Found {
    if (typeof answer === 'string') return { kind: 'failed', reason: answer };
    const { found, keptS } = parse(answer, query, type);
    if (found.kind === 'failed') return found;
    this.#kept.delete(key);
    this.#kept.set(key, { untilMs: performance.now() + keptS * 1000, found });
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value as string);
    return found;
  }

  /** The whole answer, or why there is none. */
  #exchange(query: Buffer, timeoutMs: number): Promise<Buffer | string> {
    const { address: host, port } = this.#server;
    return new Promise((resolve) => {
      const socket = connect({ host, port });
      const parts: Buffer[] = [];
      let bytes = 0;
      const end = (result: Buffer | string): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(result);
      };
      const timer = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs);
      socket.on('error', (error) => end(error.message));
      socket.on('close', () => end('the resolver closed the connection'));
      socket.on('data', (chunk: Buffer) => {
        parts.push(chunk);
        bytes += chunk.length;
        if (bytes < 2) return;
        const whole = Buffer.concat(parts, bytes);
        const length = whole.readUInt16BE(0);
        if (bytes >= 2 + length) end(whole.subarray(2, 2 + length));
      });
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    });
  }
}

/** RFC 1035 section 4.1; undefined for what is no name. */
function queryFor(name: string, type: number): Buffer | undefined {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  if (name.length > 253 || labels.some(({ length }) => length === 0 || length > 63)) return undefined;
  const head = Buffer.alloc(12);
  head.writeUInt16BE(randomInt(0x10000), 0);
  head.writeUInt16BE(RECURSION_DESIRED | AUTHENTIC, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(1, 10);
  const question = labels.flatMap((label) => [Buffer.of(label.length), label]);
  return Buffer.concat([head, ...question, Buffer.of(0, 0, type, 0, 1), OPT]);
}

function parse(answer: Buffer, query: Buffer, type: SecureType): { found: Found; keptS: number } {
  const failed = (reason: string): { found: Found; keptS: number } => ({ found: { kind: 'failed', reason }, keptS: 0 });
  try {
    const flags = answer.readUInt16BE(2);
    const question = query.subarray(12, query.length - OPT.length);
    if (answer.readUInt16BE(0) !== query.readUInt16BE(0) || (flags & RESPONSE) === 0 || answer.readUInt16BE(4) !== 1)
      return failed('garbage');
    if (!answer.subarray(12, 12 + question.length).equals(question)) return failed('an answer to something else');
    const code = flags & 0xf;
    if (code !== NOERROR && code !== NXDOMAIN) return failed(CODES[code] ?? `code ${code}`);
    const isSecure = (flags & AUTHENTIC) !== 0;
    const values: string[] = [];
    let [at, keptS] = [12 + question.length, MAX_KEPT_S];
    for (let left = answer.readUInt16BE(6); left > 0; left--) {
      at = nameAt(answer, at).end;
      const ttlS = answer.readUInt32BE(at + 4);
      const [from, end] = [at + 10, at + 10 + answer.readUInt16BE(at + 8)];
      if (end > answer.length) return failed('garbage');
      // Aliases stand among them: the resolver has followed these.
      if (answer.readUInt16BE(at) === TYPES[type] && values.length < MAX_VALUES)
        values.push(VALUES[type](answer, from, end));
      keptS = Math.min(keptS, Math.max(ttlS, MIN_KEPT_S));
      at = end;
    }
    if (values.length === 0) return { found: { kind: 'none', isSecure }, keptS: NONE_KEPT_S };
    return { found: { kind: 'found', isSecure, values }, keptS };
  } catch (error) {
    if (error instanceof RangeError) return failed('garbage');
    throw error;
  }
}

const CODES: Readonly<Record<number, string>> = { 1: 'FORMERR', 2: 'SERVFAIL', 4: 'NOTIMP', 5: 'REFUSED' };

const VALUES: Readonly<Record<SecureType, (answer: Buffer, from: number, end: number) => string>> = {
  A: (answer, from, end) => answer.subarray(from, end).join('.'),
  AAAA: (answer, from, end) => canonicalOf(answer.subarray(from, end)),
  MX: (answer, from) => `${answer.readUInt16BE(from)} ${nameAt(answer, from + 2).name}`,
  TXT(answer, from, end) {
    let text = '';
    for (let at = from; at < end; at += 1 + answer.readUInt8(at))
      text += answer.toString('latin1', at + 1, Math.min(end, at + 1 + answer.readUInt8(at)));
    return text;
  },
  TLSA: (answer, from, end) =>
    `${answer.readUInt8(from)} ${answer.readUInt8(from + 1)} ${answer.readUInt8(from + 2)} ${answer.toString('hex', from + 3, end)}`,
};

/** The name that begins here, lower case, and where what follows it stands. Throws RangeError when it is none. */
function nameAt(answer: Buffer, from: number): { name: string; end: number } {
  const labels: string[] = [];
  let [at, end, pointers] = [from, 0, 0];
  for (let length = answer.readUInt8(at); length > 0; length = answer.readUInt8(at)) {
    if (length >= 0xc0) {
      end ||= at + 2;
      at = answer.readUInt16BE(at) & 0x3fff;
      if (++pointers > MAX_POINTERS) throw new RangeError('a name without end');
      continue;
    }
    if (at + 1 + length > answer.length) throw new RangeError('a label without end');
    labels.push(answer.toString('latin1', at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  return { name: labels.join('.'), end: end || at + 1 };
}
