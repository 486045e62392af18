/**
 * A name server for the hosts inside, so that a mail server finds its way as it would anywhere: MX, then an address.
 *
 * `v4.example.org` has one MX with an IPv4 address alone, `v6.example.org` one with an IPv6 address alone, and each name
 * right below has the same MX; nothing else exists but `spf.example.org`, whose SPF record names the first host alone. Run
 * as a process in a namespace: `node dns.ts`; it listens at 127.0.0.1:53 and prints `ready`.
 */
import { createSocket } from 'node:dgram';
import { fileURLToPath } from 'node:url';
import { PLACES } from '../../src/lab/network.ts';

const TYPE: Readonly<Record<number, string>> = { 1: 'A', 15: 'MX', 16: 'TXT', 28: 'AAAA' };
const TTL_S = 60;
const NAME_ERROR = 3;

const zone = new Map<string, Readonly<Record<string, Buffer>>>([
  ['v4.example.org', { MX: mx('mx.v4.example.org') }],
  ['mx.v4.example.org', { A: Buffer.from(PLACES.direct.v4.split('.').map(Number)) }],
  ['v6.example.org', { MX: mx('mx.v6.example.org') }],
  ['mx.v6.example.org', { AAAA: bytesOf6(PLACES.direct.v6) }],
  ['spf.example.org', { TXT: txt(`v=spf1 ip4:${PLACES.hosts[0].v4} ip6:${PLACES.hosts[0].v6} -all`) }],
]);

/** The reply to one question (RFC 1035 section 4.1), or undefined for what is no question. */
export function answer(query: Buffer): Buffer | undefined {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at]; length !== undefined && length > 0; length = query[at]) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  const end = at + 5;
  if (query.length < end) return undefined;
  const records = zone.get(labels.join('.')) ?? zone.get(labels.slice(1).join('.'));
  const data = records?.[TYPE[query.readUInt16BE(at + 1)] ?? ''];
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8480 | (records ? 0 : NAME_ERROR), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(data ? 1 : 0, 6);
  const question = query.subarray(12, end);
  if (!data) return Buffer.concat([head, question]);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc00c, 0);
  query.copy(record, 2, at + 1, end);
  record.writeUInt32BE(TTL_S, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, question, record, data]);
}

function mx(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  return Buffer.concat([Buffer.from([0, 10]), ...labels, Buffer.from([0])]);
}

function txt(text: string): Buffer {
  return Buffer.from(`${String.fromCharCode(text.length)}${text}`, 'latin1');
}

function bytesOf6(address: string): Buffer {
  const [left = '', right = ''] = address.split('::');
  const groups = (text: string): number[] => text.split(':').map((group) => Number.parseInt(group, 16));
  const bytes = Buffer.alloc(16);
  for (const [at, group] of groups(left).entries()) bytes.writeUInt16BE(group, at * 2);
  for (const [at, group] of groups(right).reverse().entries()) bytes.writeUInt16BE(group, 14 - at * 2);
  return bytes;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const reply = answer(query);
    if (reply) socket.send(reply, from.port, from.address);
  });
  socket.bind(53, '127.0.0.1', () => process.stdout.write('ready\n'));
  // Whoever started this holds its input: when that one is gone, so are we.
  process.stdin.on('end', () => process.exit(0)).resume();
}
