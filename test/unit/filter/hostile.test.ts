/**
 * Hostile content, by the numbers of the list of what must not stop the gateway: each message is judged with under a
 * second of CPU, the loop goes round at least every 50 ms meanwhile, and what is past a limit is never called clean. The
 * times are those of the machine where they were promised (kit/pace.ts).
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import { Message } from '../../../src/filter/message.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { BUNZIPS, named, SEVEN_ZIPS, type ZipFile, zipOf } from '../../kit/archives.ts';
import { filtersOf, lookAt, mailOf } from '../../kit/mail.ts';
import { within } from '../../kit/pace.ts';

const MAX_MS = 1000;
const MAX_STALL_MS = 50;

const directory = mkdtempSync(join(tmpdir(), 'postern-hostile-'));
after(() => rmSync(directory, { recursive: true }));
const list = join(directory, 'list.txt');
writeFileSync(list, 'bad.example\n');
// What counts is CPU: a machine that has other things to do takes longer.
const filters = await filtersOf(
  `content.deadline = "60s"\nattachments.enabled = true\ncampaign.enabled = true\nurls.files = ["${list}"]`,
);
// Threads and code are warm, as in a gateway that runs.
await lookAt(filters, mailOf(named('a.zip', zipOf([{ name: 'a', content: 'x' }]))));

const HEAD = 'From: a\r\nDate: b\r\nMIME-Version: 1.0\r\n';
const multipart = (boundary: string): string => `Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\n`;

/** The longest turn of the loop while `work` ran, in CPU time of its thread: what other processes take is not ours. */
async function longestTurn<T>(work: () => Promise<T>): Promise<{ readonly stallMs: number; readonly said: T }> {
  let before = process.threadCpuUsage();
  let stallMs = 0;
  let isOver = false;
  const turn = (): void => {
    const { user, system } = process.threadCpuUsage(before);
    stallMs = Math.max(stallMs, (user + system) / 1000);
    before = process.threadCpuUsage();
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const said = await work();
  await new Promise(setImmediate);
  isOver = true;
  return { stallMs, said };
}

function hostile(name: string, make: () => string | Buffer, want: readonly string[]): void {
  test(`Shows 3: ${name}`, async () => {
    const mail = mailOf(make());
    const begin = process.cpuUsage();
    const { stallMs, said } = await longestTurn(() => lookAt(filters, mail));
    const { user, system } = process.cpuUsage(begin);
    assert.deepEqual(said.failed, []);
    assert.deepEqual(said.classes, want);
    const tookMs = (user + system) / 1000;
    assert.ok(within(tookMs, MAX_MS), `took ${tookMs} ms of CPU`);
    assert.ok(within(stallMs, MAX_STALL_MS), `the loop stood for ${stallMs} ms`);
  });
}

/** As large as is taken apart, in memory and in a file: it costs a thread its time, and the loop no more than turns. */
for (const [where, memoryBytes, line] of [
  ['in memory', 1 << 28, 'a line of text that nobody will read\r\n'],
  ['in a file, all dots', 1 << 20, '..\r\n'],
] as const) {
  test(`Shows 3: the loop never stalls over 50 ms: 64 MiB ${where}`, async () => {
    const body = new SpooledBody(new SpoolBudget(1 << 28), memoryBytes, directory);
    const text = Buffer.alloc(1 << 16, line);
    body.append(Buffer.from(`${HEAD}\r\n`));
    while (body.sizeBytes + text.length < 64 << 20) body.append(text);
    assert.equal(body.fileBytes > 0, where !== 'in memory');
    const { stallMs, said } = await longestTurn(() => lookAt(filters, mailOf('', { message: new Message(body) })));
    body.release();
    assert.deepEqual(said, { found: [], failed: [], classes: [] });
    assert.ok(stallMs < MAX_STALL_MS, `the loop stood for ${stallMs} ms`);
  });
}

function nest(count: number): string {
  let text = HEAD;
  for (let i = 0; i < count; i++) text += `${multipart(`b${i}`)}--b${i}\r\n`;
  return `${text}\r\nend\r\n`;
}

hostile('37: 5,000 nested multiparts', () => nest(5000), ['content.depth']);
hostile('37: 2,000 nested messages', () => HEAD + 'Content-Type: message/rfc822\r\n\r\n'.repeat(2000), [
  'content.depth',
]);
hostile('37: 300,000 empty parts', () => `${HEAD}${multipart('b')}${'--b\r\n\r\n'.repeat(300_000)}`, ['content.parts']);
hostile('37: 1,400,000 empty parts', () => `${HEAD}${multipart('b')}${'--b\r\n'.repeat(1_400_000)}`, ['content.parts']);
hostile(
  '37: a boundary of 10 kB is none',
  () => `${HEAD}${multipart('b'.repeat(10_000))}--${'b'.repeat(10_000)}\r\n\r\n`,
  [],
);
hostile(
  '37: 2,000,000 lines that are almost a boundary',
  () => `${HEAD}${multipart('bb')}${'--b\r\n'.repeat(2_000_000)}`,
  ['content.parts'],
);
hostile(
  '37: charset lies, and two kinds of one part',
  () =>
    `${HEAD}Content-Type: text/plain; charset=utf-16\r\ncontent-type: text/html; charset=utf-7\r\n\r\n${'\xff\xfe\xd8'.repeat(20_000)}`,
  ['content.ambiguous'],
);

hostile('38: 100,000 fields', () => `${HEAD}${'X: y\r\n'.repeat(100_000)}\r\n`, ['content.header']);
hostile('38: one folded field of 5 MB', () => `${HEAD}X: y\r\n${` ${'y'.repeat(75)}\r\n`.repeat(65_000)}\r\n`, [
  'content.header',
]);
hostile('38: an address list of 1 MB', () => `${HEAD}To: ${'a@b.example,\r\n '.repeat(65_000)}c@d.example\r\n\r\n`, [
  'content.header',
]);
hostile(
  '38: 10,000 continuations of a name',
  () => `${HEAD}Content-Type: a/b;${Array.from({ length: 10_000 }, (_, i) => ` n*${i}=x;`).join('\r\n')}\r\n\r\n`,
  [],
);
hostile('38: encoded words in a name, 15 kB of them', () => named('=?utf-8?q?=3D=3F?='.repeat(800), 'x'), []);

/** The overlapping kind: one packed block of zeros, that all entries point to. */
function overlapping(entries: number): Buffer {
  const files: ZipFile[] = [{ name: '0', content: Buffer.alloc(1 << 20) }];
  for (let i = 1; i < entries; i++) files.push({ name: String(i), content: '' });
  const zip = zipOf(files.map((file) => ({ ...file, at: 0 })));
  // Each says that it is as large as the first.
  const packed = deflateRawSync(Buffer.alloc(1 << 20)).length;
  for (let at = zip.indexOf('PK\x01\x02'); at >= 0; at = zip.indexOf('PK\x01\x02', at + 4)) {
    zip.writeUInt32LE(packed, at + 20);
    zip.writeUInt32LE(1 << 20, at + 24);
  }
  return zip;
}

/** In the manner of 42.zip: each level has sixteen of the next. */
function nested(levels: number, fill: number): Buffer {
  let zip: Buffer = zipOf([{ name: 'zeros', content: Buffer.alloc(fill) }]);
  for (let level = 0; level < levels; level++) {
    const inner = zip;
    zip = zipOf(Array.from({ length: 16 }, (_, i) => ({ name: `${i}.zip`, content: inner })));
  }
  return zip;
}

hostile('39: zips in zips, sixteen each time, in the manner of 42.zip', () => named('42.zip', nested(4, 4 << 20)), [
  'attachment.limits',
]);
hostile('39: overlapping entries', () => named('a.zip', overlapping(5000)), ['attachment.limits']);
hostile('39: a million entries', () => named('a.zip', million()), ['attachment.limits']);
hostile('39: 1 GB of zeros in a gz', () => named('a.gz', zeros()), ['attachment.limits']);
hostile('39: a gz that holds itself', () => named('a.gz', quine()), ['attachment.limits']);
hostile('39: twenty levels', () => named('a.zip', chain(20)), ['attachment.limits']);
hostile('39: one with a password', () => named('a.zip', zipOf([{ name: 'a.txt', content: 'x', isEncrypted: true }])), [
  'attachment.encrypted',
]);
hostile('39: a wrong extension', () => named('a.jpg', zipOf([{ name: 'a.exe', content: 'x' }])), [
  'attachment.executable',
]);

hostile(
  '39: a zip with names of blanks, each 60 kB long',
  () => named('a.zip', zipOf(Array.from({ length: 20 }, () => ({ name: `${' '.repeat(60_000)}x`, content: '' })))),
  [],
);
hostile('39: a rar 4 whose names lie over one another', () => named('a.rar', namesOverNames()), ['attachment.unread']);
hostile('39: a rar 5 whose headers begin where the file does', () => named('a.rar', extraOverExtra()), [
  'attachment.unread',
]);
hostile('39: 64 MB of zeros in a bz2', () => named('a.bz2', BUNZIPS.zeros), ['attachment.limits']);
hostile(
  '39: a million empty streams of bz2',
  () => named('a.bz2', Buffer.concat(Array<Buffer>(1_000_000).fill(BUNZIPS.nothing))),
  ['attachment.unread'],
);
hostile('39: 200,000 blocks of bz2', () => named('a.bz2', manyBlocks()), [
  'attachment.unread',
  'attachment.executable',
]);
hostile('39: blocks of bz2 with 32,000 selectors for one octet', () => named('a.bz2', selectorBlocks(2500)), [
  'attachment.unread',
]);
hostile('39: 900 bz2 files in a message', () => manyFiles(900, BUNZIPS.program), ['attachment.executable']);
hostile('39: 300 7z files with the largest tables', () => manyFiles(300, largeTables()), ['attachment.unread']);
hostile('39: a 7z whose header says that it is 4 GB', () => named('a.7z', largeHeader()), ['attachment.unread']);
hostile('39: twenty 7z files in a message', () => manyFiles(20, SEVEN_ZIPS.withSecretNames), ['attachment.encrypted']);
hostile('39: a tar without a zero', () => named('a.tar', tarBlocks('0', 0)), ['attachment.limits']);
hostile('39: a tar of extended headers that are all digits', () => named('a.tar', tarBlocks('x', 4096)), []);

hostile('40: 10 MB of nested tables', () => html('<table><tr><td>'.repeat(700_000)), []);
hostile('40: 20 parts of a megabyte of tags each', () => htmlParts(20), []);
hostile('40: a million attributes', () => html(`<p ${'a=b '.repeat(1_000_000)}>x`), []);
hostile('40: a million beginnings of everything', () => html('<!--<a href="<style></<\'<p title='.repeat(300_000)), []);
hostile(
  '40: style sheets',
  () => html(`<style>${'a{b:url(c)}'.repeat(500_000)}</style>${'@import url(d);'.repeat(100_000)}`),
  [],
);
hostile('40: 64 KiB of beginnings, on the loop', () => html('<a href="'.repeat(7000)), []);
hostile(
  '40: 64 KiB of ampersands and equals signs, on the loop',
  () => html('&#x&=?=3D'.repeat(7000), 'quoted-printable'),
  [],
);
hostile('40: 64 KiB of what may be addresses, on the loop', () => `${HEAD}\r\n${'http://www.'.repeat(5900)}`, []);
hostile('40: 500 addresses of 2 kB, with a hundred labels each', () => `${HEAD}\r\n${addresses(500)}`, []);
hostile('40: a megabyte of what may be telephone numbers', () => `${HEAD}\r\n${'1 (2) 3-4.5/6 7'.repeat(70_000)}`, []);
hostile(
  '40: a megabyte of what may be wallets',
  () => `${HEAD}\r\n${`bc1${'a'.repeat(61)} 4A${'b'.repeat(92)} `.repeat(6000)}`,
  [],
);

function addresses(count: number): string {
  return Array.from(
    { length: count },
    (_, i) => `http://${'a.'.repeat(100)}x${i}.example/${'b/'.repeat(850)}\r\n`,
  ).join('');
}

function htmlParts(parts: number): string {
  const part = `--b\r\nContent-Type: text/html\r\n\r\n${'<b>'.repeat(350_000)}\r\n`;
  return `${HEAD}${multipart('b')}${part.repeat(parts)}--b--\r\n`;
}

function html(text: string, encoding = '8bit'): string {
  return `${HEAD}Content-Type: text/html\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${text}\r\n`;
}

/** Each of 20,000 headers says that its name is 64 kB long. */
function namesOverNames(): Buffer {
  const head = Buffer.alloc(32);
  head[2] = 0x74;
  head.writeUInt16LE(0x8000, 3);
  head.writeUInt16LE(32, 5);
  head.writeUInt16LE(65_535, 26);
  const filler = Buffer.alloc(65_535, 'a');
  return Buffer.concat([Buffer.from('Rar!\x1a\x07\0', 'latin1'), ...Array<Buffer>(20_000).fill(head), filler]);
}

/** Each of 9,000 headers says that what is extra in it is as long as all that was before, in which records have two octets. */
function extraOverExtra(): Buffer {
  const start = Buffer.from('Rar!\x1a\x07\x01\0', 'latin1');
  const before = Buffer.alloc(4 << 20);
  for (let at = 0; at < before.length; at += 2) before.writeUInt16LE(0x0201, at);
  const vint4 = (value: number): number[] => [0, 7, 14, 21].map((n) => ((value >> n) & 0x7f) | (n < 21 ? 0x80 : 0));
  // A service header that has `before` as its data, then the files.
  const skip = [0, 0, 0, 0, 6, 3, 2, ...vint4(before.length)];
  const heads: number[] = [];
  const headBytes = 13;
  for (let i = 0; i < 9000; i++) {
    const extra = before.length + heads.length + headBytes;
    heads.push(0, 0, 0, 0, headBytes, 2, 1, ...vint4(extra), 0, 0, 0, 0, 1, 0);
  }
  return Buffer.concat([start, Buffer.from(skip), before, Buffer.from(heads)]);
}

/** The same block of one file, over and over. */
function manyBlocks(): Buffer {
  return Buffer.concat(Array<Buffer>(200_000).fill(BUNZIPS.program));
}

function largeHeader(): Buffer {
  const bytes = Buffer.from(SEVEN_ZIPS.packedHeader);
  // The size of what is packed stands before the end of the last coder's properties.
  const at = bytes.lastIndexOf(Buffer.from([0x0c, 0x80, 0xbe]));
  assert.ok(at > 0);
  return Buffer.concat([
    bytes.subarray(0, at + 1),
    Buffer.from([0xf0, 0xff, 0xff, 0xff, 0xff]),
    bytes.subarray(at + 3),
  ]);
}

/** The properties of the coder say that as many bits as can be are looked at. */
function largeTables(): Buffer {
  const bytes = Buffer.from(SEVEN_ZIPS.packedHeader);
  const at = bytes.lastIndexOf(Buffer.from([0x5d, 0, 0x10]));
  assert.ok(at > 0);
  bytes[at] = (4 * 5 + 4) * 9 + 8;
  return bytes;
}

/** Blocks that hold one octet each, and say with which of two tables each fifty of a million symbols are coded. */
function selectorBlocks(count: number): Buffer {
  const bits = (value: number, width: number): string => value.toString(2).padStart(width, '0');
  const begin = `${bits(0x314159265359, 48)}${bits(0, 32)}0${bits(0, 24)}${bits(0x8000 >> 6, 16)}${bits(0x8000 >> 1, 16)}${bits(2, 3)}`;
  const end = `${`${bits(2, 5)}000`.repeat(2)}0010`;
  // So many that the next block begins with an octet.
  const selectors = 32_760 - ((begin.length + 15 + 32_760 + end.length) % 8);
  const block = begin + bits(selectors, 15) + '0'.repeat(selectors) + end;
  const octets = Buffer.from(block.match(/.{8}/g)?.map((octet) => Number.parseInt(octet, 2)) ?? []);
  return Buffer.concat([Buffer.from('BZh9'), ...Array<Buffer>(count).fill(octets)]);
}

function manyFiles(files: number, of: Buffer): string {
  const one = named('a.bin', of);
  const head = one.slice(0, one.lastIndexOf('--b\r\n'));
  const part = one.slice(one.lastIndexOf('--b\r\n'));
  return head + part.replace('--b--\r\n', '').repeat(files);
}

/** 12 MB of headers in which no octet is zero. */
function tarBlocks(type: string, sizeBytes: number): Buffer {
  const block = Buffer.alloc(512 + sizeBytes, '1');
  block.write(sizeBytes.toString(8).padStart(12, '0'), 124);
  block.write(type, 156);
  block.write('ustar', 257);
  return Buffer.concat(Array<Buffer>(Math.floor((12 << 20) / block.length)).fill(block));
}

let millionEntries: Buffer | undefined;
function million(): Buffer {
  if (millionEntries) return millionEntries;
  const entry = Buffer.alloc(47);
  entry.write('PK\x01\x02', 'latin1');
  entry.writeUInt16LE(1, 28);
  entry[46] = 97;
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(65_535, 10);
  end.writeUInt32LE(47_000_000, 12);
  const all = Buffer.alloc(47_000_000);
  for (let at = 0; at < all.length; at += 47) entry.copy(all, at);
  // In front of it what makes it a zip by its first octets.
  return (millionEntries = Buffer.concat([Buffer.from('PK\x03\x04'), all, end]));
}

let gigabyte: Buffer | undefined;
function zeros(): Buffer {
  // Members one after the other are one file (RFC 1952 section 2.2).
  return (gigabyte ??= Buffer.concat(Array<Buffer>(10).fill(gzipSync(Buffer.alloc(100 << 20), { level: 1 }))));
}

/** One that holds itself needs a fixed point; the reader meets the same: a gz in a gz in a gz, and so on. */
function quine(): Buffer {
  let inner: Buffer = Buffer.from('x');
  for (let i = 0; i < 200; i++) inner = gzipSync(inner);
  return inner;
}

function chain(levels: number): Buffer {
  let zip: Buffer = zipOf([{ name: 'a.txt', content: 'x' }]);
  for (let level = 0; level < levels; level++) zip = zipOf([{ name: 'a.zip', content: zip }]);
  return zip;
}

test('39: the checksum that the fixtures are made with is the one of ZIP', () => {
  assert.equal(crc32('123456789'), 0xcbf43926);
});
