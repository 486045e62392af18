/** A name server on loopback, over UDP and TCP, that knows what a test tells it and can be as bad as one. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { parseAddress } from '../../src/kit/address.ts';

export type Records = {
  readonly TXT?: readonly string[];
  readonly A?: readonly string[];
  readonly MX?: readonly string[];
  readonly PTR?: readonly string[];
  readonly AAAA?: readonly string[];
  /** `3 1 1 HEX` */
  readonly TLSA?: readonly string[];
  /** DNSSEC has shown it to be true; of names that are not there too */
  readonly isSecure?: boolean;
  /** SERVFAIL, as a resolver says that DNSSEC has shown it to be forged */
  readonly isForged?: boolean;
  /** never answered */
  readonly isSilent?: boolean;
};
type RecordType = 'TXT' | 'A' | 'MX' | 'PTR' | 'AAAA' | 'TLSA';
/** Each a word: no answer at all, SERVFAIL, REFUSED, an answer when nobody waits for it any more, or octets that are none. */
export type DnsBehaviour = 'answer' | 'hang' | 'servfail' | 'refuse' | 'slow' | 'garbage';

const TYPES: Readonly<Record<number, RecordType>> = { 1: 'A', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 52: 'TLSA' };
const MAX_UDP_BYTES = 1232;
const [SERVFAIL, NXDOMAIN, REFUSED] = [2, 3, 5];
const SLOW_MS = 5000;
/** RFC 6891: root, type 41, the size we take. Who asks with one gets one; Rspamd ignores answers of 28 octets and less. */
const OPT = Buffer.from([0, 0, 41, MAX_UDP_BYTES >> 8, MAX_UDP_BYTES & 0xff, 0, 0, 0, 0, 0, 0]);
const TRUNCATED = 0x0200;
const AUTHENTIC = 0x0020;

export class FakeDns {
  /** by name; `*.example.org` is each one right below that has none of its own */
  readonly zone: Map<string, Records>;
  behaviour: DnsBehaviour = 'answer';
  /** every question's name, as it came */
  readonly asked: string[] = [];
  readonly #udp: Socket = createSocket('udp4');
  readonly #tcp: Server = createServer();
  #port = 0;
  #isClosed = false;

  constructor(zone: Readonly<Record<string, Records>> = {}) {
    this.zone = new Map(Object.entries(zone));
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** `port` 0: one that is free. */
  async start(port = 0): Promise<this> {
    this.#udp.on('message', (query, from) => {
      const reply = this.answer(query);
      if (!reply) return;
      const bytes = reply.length <= MAX_UDP_BYTES ? reply : truncated(reply, query);
      const send = (): void => void (this.#isClosed || this.#udp.send(bytes, from.port, from.address));
      if (this.behaviour === 'slow') setTimeout(send, SLOW_MS).unref();
      else send();
    });
    this.#tcp.on('connection', (socket) => {
      let heard = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        heard = Buffer.concat([heard, chunk]);
        if (heard.length < 2 || heard.length < 2 + heard.readUInt16BE(0)) return;
        const reply = this.answer(heard.subarray(2, 2 + heard.readUInt16BE(0)));
        if (!reply) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(Math.min(reply.length, 0xffff));
        socket.end(Buffer.concat([length, reply.subarray(0, 0xffff)]));
      });
    });
    // The one that is free for TCP is nearly always free for UDP; the other way round, connections take ports too.
    this.#tcp.listen(port, '127.0.0.1');
    await once(this.#tcp, 'listening');
    this.#port = (this.#tcp.address() as { port: number }).port;
    this.#udp.bind(this.#port, '127.0.0.1');
    await once(this.#udp, 'listening');
    return this;
  }

  close(): void {
    this.#isClosed = true;
    this.#udp.close();
    this.#tcp.close();
  }

  /** The reply to one question (RFC 1035 section 4.1); undefined for what is no question, and when it hangs. */
  answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at]; length !== undefined && length > 0; length = query[at]) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length).toLowerCase());
      at += 1 + length;
    }
    const end = at + 5;
    if (query.length < end) return undefined;
    const name = labels.join('.');
    this.asked.push(name);
    if (this.behaviour === 'hang') return undefined;
    if (this.behaviour === 'garbage') return Buffer.concat([query.subarray(0, 2), Buffer.alloc(100, 0xfe)]);
    const known = this.zone.get(name) ?? this.zone.get(['*', ...labels.slice(1)].join('.'));
    if (known?.isSilent) return undefined;
    const type = TYPES[query.readUInt16BE(at + 1)];
    const data = (type && known?.[type]?.map((value) => dataOf(type, value))) ?? [];
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    const failure =
      this.behaviour === 'refuse'
        ? REFUSED
        : this.behaviour === 'servfail' || known?.isForged
          ? SERVFAIL
          : known
            ? 0
            : NXDOMAIN;
    head.writeUInt16BE(0x8580 | (known?.isSecure ? AUTHENTIC : 0) | failure, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(failure === 0 ? data.length : 0, 6);
    const edns = query.readUInt16BE(10) > 0 ? OPT : Buffer.alloc(0);
    head.writeUInt16BE(edns.length > 0 ? 1 : 0, 10);
    const answers = failure === 0 ? data.map((one) => recordOf(query.subarray(at + 1, at + 5), one)) : [];
    return Buffer.concat([head, query.subarray(12, end), ...answers, edns]);
  }
}

/** "Ask over TCP": the head and the question alone. */
function truncated(reply: Buffer, query: Buffer): Buffer {
  const head = Buffer.from(reply.subarray(0, 12));
  head.writeUInt16BE(head.readUInt16BE(2) | TRUNCATED, 2);
  head.fill(0, 6);
  return Buffer.concat([head, query.subarray(12, query.indexOf(0, 12) + 5)]);
}

/** The name is that of the question; type and class likewise. */
function recordOf(typeAndClass: Buffer, data: Buffer): Buffer {
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc00c, 0);
  typeAndClass.copy(record, 2);
  record.writeUInt32BE(60, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([record, data]);
}

function dataOf(type: RecordType, value: string): Buffer {
  if (type === 'TLSA') {
    const [usage, selector, matching, data = ''] = value.split(' ');
    return Buffer.concat([Buffer.of(Number(usage), Number(selector), Number(matching)), Buffer.from(data, 'hex')]);
  }
  if (type === 'AAAA')
    return Buffer.from(
      BigInt(parseAddress(value)?.value ?? 0)
        .toString(16)
        .padStart(32, '0'),
      'hex',
    );
  if (type === 'A') return Buffer.from(value.split('.').map(Number));
  if (type === 'MX') return Buffer.concat([Buffer.from([0, 10]), nameOf(value)]);
  if (type === 'PTR') return nameOf(value);
  const strings = value.match(/[\s\S]{1,255}/g) ?? [''];
  return Buffer.concat(strings.flatMap((text) => [Buffer.from([text.length]), Buffer.from(text, 'latin1')]));
}

function nameOf(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  return Buffer.concat([...labels, Buffer.from([0])]);
}
