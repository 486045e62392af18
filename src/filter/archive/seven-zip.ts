/** Names in a 7z file (7zFormat.txt): its header is read, unpacked where it is packed, and no file is. */
import type { Budget } from './budget.ts';
import { LzmaFault, unLzma, unLzma2 } from './lzma.ts';
import type { Names } from './rar.ts';

/** Ids of properties. */
const END = 0;
const HEADER = 1;
const ARCHIVE_PROPERTIES = 2;
const ADDITIONAL_STREAMS = 3;
const MAIN_STREAMS = 4;
const FILES = 5;
const PACKS = 6;
const FOLDERS = 7;
const SUB_STREAMS = 8;
const SIZES = 9;
const DIGESTS = 10;
const FOLDER = 11;
const UNPACKED_SIZES = 12;
const COUNTS = 13;
const NAMES = 17;
const PACKED_HEADER = 23;

const START_BYTES = 32;
const MAX_NAMES = 10_001;
/** Names of ten thousand files come to less. */
const MAX_HEADER_BYTES = 4 * 1024 * 1024;
/** A header may be packed, and that of the pack again. */
const MAX_PACKED = 3;
/** Unpacking an octet takes so many times what zlib takes. */
const COST = 8;
const AES = '06f10701';

type Folder = {
  readonly coders: readonly { readonly id: string; readonly properties: Buffer }[];
  /** of its coders, one behind the other */
  sizes: number[];
  hasDigest: boolean;
};
type Streams = {
  readonly begin: number;
  readonly packedSizes: readonly number[];
  readonly folders: readonly Folder[];
};

class Unread extends Error {}

export function listSevenZip(bytes: Buffer, budget: Budget): Names {
  let isEncrypted = false;
  try {
    if (bytes.length < START_BYTES) throw new Unread();
    const begin = START_BYTES + Number(bytes.readBigUInt64LE(12));
    let header = bytes.subarray(begin, begin + Number(bytes.readBigUInt64LE(20)));
    for (let packed = 0; ; packed++) {
      const reader = new Reader(header);
      const id = reader.octet();
      if (id === HEADER) return { names: namesIn(reader, () => (isEncrypted = true)), fault: undefined, isEncrypted };
      if (id !== PACKED_HEADER || packed === MAX_PACKED) throw new Unread();
      const streams = streamsIn(reader);
      if (streams.folders.some(isSecret)) return { names: [], fault: undefined, isEncrypted: true };
      header = unpacked(bytes, streams, budget);
    }
  } catch (error) {
    if (!(error instanceof Unread || error instanceof LzmaFault)) throw error;
    return { names: [], fault: 'unread', isEncrypted };
  }
}

function namesIn(reader: Reader, encrypted: () => void): string[] {
  const names: string[] = [];
  for (let id = reader.number(); id !== END; id = reader.number()) {
    if (id === ARCHIVE_PROPERTIES)
      for (let one = reader.number(); one !== END; one = reader.number()) reader.skip(reader.number());
    else if (id === ADDITIONAL_STREAMS || id === MAIN_STREAMS) {
      if (streamsIn(reader).folders.some(isSecret)) encrypted();
    } else if (id === FILES) {
      reader.number();
      for (let of = reader.number(); of !== END; of = reader.number()) {
        const property = reader.take(reader.number());
        if (of === NAMES) addNames(names, property);
      }
    } else throw new Unread();
  }
  return names;
}

/** UTF-16, each ended by a zero. */
function addNames(names: string[], property: Buffer): void {
  // They may be elsewhere.
  if (property[0] !== 0) throw new Unread();
  for (let at = 1; at + 1 < property.length && names.length < MAX_NAMES; ) {
    let end = at;
    while (end + 1 < property.length && (property[end] !== 0 || property[end + 1] !== 0)) end += 2;
    names.push(property.toString('utf16le', at, end));
    at = end + 2;
  }
}

function isSecret({ coders }: Folder): boolean {
  return coders.some(({ id }) => id === AES);
}

/** What one coder has packed. */
function unpacked(bytes: Buffer, { begin, packedSizes, folders }: Streams, budget: Budget): Buffer {
  const [coder, ...others] = folders[0]?.coders ?? [];
  const sizeBytes = folders[0]?.sizes[0] ?? 0;
  if (!coder || others.length > 0 || sizeBytes > MAX_HEADER_BYTES) throw new Unread();
  budget.inflateBytes -= COST * sizeBytes;
  if (budget.inflateBytes < 0) throw new Unread();
  const packed = bytes.subarray(START_BYTES + begin, START_BYTES + begin + (packedSizes[0] ?? 0));
  if (coder.id === '00') return packed;
  if (coder.id === '21') return unLzma2(packed, sizeBytes);
  if (coder.id === '030101') return unLzma(packed, coder.properties, sizeBytes);
  throw new Unread();
}

function streamsIn(reader: Reader): Streams {
  let begin = 0;
  let packedSizes: number[] = [];
  let folders: Folder[] = [];
  let isDivided = false;
  for (let id = reader.number(); id !== END; id = reader.number()) {
    if (id === PACKS) {
      begin = reader.number();
      const count = reader.number();
      for (let of = reader.number(); of !== END; of = reader.number()) {
        if (of === SIZES) packedSizes = reader.numbers(count);
        else if (of === DIGESTS) reader.digests(count);
        else throw new Unread();
      }
    } else if (id === FOLDERS) folders = foldersIn(reader);
    else if (id === SUB_STREAMS && !isDivided) {
      isDivided = true;
      skipSubStreams(reader, folders);
    } else throw new Unread();
  }
  return { begin, packedSizes, folders };
}

function foldersIn(reader: Reader): Folder[] {
  if (reader.number() !== FOLDER) throw new Unread();
  const count = reader.number();
  if (reader.octet() !== 0) throw new Unread();
  const folders: Folder[] = [];
  const outs: number[] = [];
  for (let i = 0; i < count; i++) outs.push(folderIn(reader, folders));
  if (reader.number() !== UNPACKED_SIZES) throw new Unread();
  for (const [i, folder] of folders.entries()) folder.sizes = reader.numbers(outs[i] as number);
  for (let of = reader.number(); of !== END; of = reader.number()) {
    if (of !== DIGESTS) throw new Unread();
    const defined = reader.digests(count);
    for (const [i, folder] of folders.entries()) folder.hasDigest = defined(i);
  }
  return folders;
}

/** Adds one, and returns how many streams come out of its coders. */
function folderIn(reader: Reader, folders: Folder[]): number {
  const coders: Folder['coders'][number][] = [];
  let [ins, outs] = [0, 0];
  const count = reader.number();
  if (count === 0) throw new Unread();
  for (let left = count; left > 0; left--) {
    const flags = reader.octet();
    if ((flags & 0x80) !== 0) throw new Unread();
    const id = reader.take(flags & 0xf).toString('hex');
    const isPlain = (flags & 0x10) === 0;
    ins += isPlain ? 1 : reader.number();
    outs += isPlain ? 1 : reader.number();
    coders.push({ id, properties: reader.take((flags & 0x20) === 0 ? 0 : reader.number()) });
  }
  const pairs = Math.max(0, outs - 1);
  reader.numbers(2 * pairs);
  if (ins - pairs > 1) reader.numbers(ins - pairs);
  folders.push({ coders, sizes: [], hasDigest: false });
  return outs;
}

/** Each property once: an octet or two that has all folders gone through may not come again and again. */
function skipSubStreams(reader: Reader, folders: readonly Folder[]): void {
  let counts = folders.map(() => 1);
  const seen = new Set<number>();
  for (let of = reader.number(); of !== END; of = reader.number()) {
    if (seen.has(of)) throw new Unread();
    seen.add(of);
    if (of === COUNTS) counts = reader.numbers(folders.length);
    else if (of === SIZES) for (const count of counts) reader.numbers(Math.max(0, count - 1));
    else if (of === DIGESTS) {
      let unknown = 0;
      for (const [i, count] of counts.entries()) if (count !== 1 || !folders[i]?.hasDigest) unknown += count;
      reader.digests(unknown);
    } else throw new Unread();
  }
}

/** Throws Unread at the end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  octet(): number {
    const octet = this.#bytes[this.#at++];
    if (octet === undefined) throw new Unread();
    return octet;
  }

  take(count: number): Buffer {
    const from = this.#at;
    this.skip(count);
    return this.#bytes.subarray(from, this.#at);
  }

  skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#bytes.length) throw new Unread();
  }

  /** As many octets follow the first as it has ones at its top; what is below them is the highest part. */
  number(): number {
    const first = this.octet();
    let value = 0;
    let mask = 0x80;
    for (let scale = 1; (first & mask) !== 0; scale *= 256, mask >>= 1) value += this.octet() * scale;
    const extra = Math.clz32(~(first << 24));
    return value + (first & (mask - 1)) * 256 ** Math.min(extra, 8);
  }

  numbers(count: number): number[] {
    // Each has an octet at least.
    if (count > this.#bytes.length) throw new Unread();
    return Array.from({ length: count }, () => this.number());
  }

  /** Skips them, and tells which there were. */
  digests(count: number): (index: number) => boolean {
    if (this.octet() !== 0) {
      this.skip(4 * count);
      return () => true;
    }
    const bits = this.take(Math.ceil(count / 8));
    const defined = (index: number): boolean => ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
    let known = 0;
    for (let i = 0; i < count; i++) if (defined(i)) known++;
    this.skip(4 * known);
    return defined;
  }
}
