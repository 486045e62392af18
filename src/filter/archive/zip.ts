/** ZIP by its central directory (APPNOTE.TXT 4.3.12), and the inflating of single entries within the budget. */
import { constants, gunzipSync, inflateRawSync } from 'node:zlib';
import { type ArchiveFault, Budget } from './budget.ts';

export type ZipEntry = {
  readonly name: string;
  /** by which programs that know the field unpack it (APPNOTE.TXT 4.6.9) */
  readonly unicodeName: string | undefined;
  readonly isEncrypted: boolean;
  readonly method: number;
  readonly packedBytes: number;
  readonly sizeBytes: number;
  /** of its local header */
  readonly at: number;
};

const END = Buffer.from('PK\x05\x06');
const MAX_COMMENT = 65_535;
/** Enough of a file to tell its kind by its first octets. */
const PEEK_BYTES = 512;
const STORED = 0;
const DEFLATED = 8;

export function listZip(
  bytes: Buffer,
  budget: Budget,
): { readonly entries: readonly ZipEntry[]; readonly faults: ReadonlySet<ArchiveFault> } {
  const faults = new Set<ArchiveFault>();
  const entries: ZipEntry[] = [];
  const end = bytes.lastIndexOf(END);
  if (end < 0 || end + 22 > bytes.length || bytes.length - end - 22 > MAX_COMMENT) {
    return { entries, faults: faults.add('unread') };
  }
  const directoryBytes = bytes.readUInt32LE(end + 12);
  const given = bytes.readUInt32LE(end + 16);
  // Octets before the archive move everything; programs that unpack look from the end.
  const start = Math.max(0, end - directoryBytes);
  const moved = start - given;
  let packed = 0;
  let size = 0;
  for (let at = start; at + 46 <= end && bytes.readUInt32LE(at) === 0x02014b50; ) {
    if (--budget.entries < 0) return { entries, faults: faults.add('bomb') };
    const flags = bytes.readUInt16LE(at + 8);
    const nameBytes = bytes.readUInt16LE(at + 28);
    const name = bytes.toString((flags & 0x800) !== 0 ? 'utf8' : 'latin1', at + 46, Math.min(end, at + 46 + nameBytes));
    const extraBytes = bytes.readUInt16LE(at + 30);
    const entry: ZipEntry = {
      name,
      unicodeName: unicodeNameIn(bytes.subarray(at + 46 + nameBytes, Math.min(end, at + 46 + nameBytes + extraBytes))),
      isEncrypted: (flags & 1) !== 0,
      method: bytes.readUInt16LE(at + 10),
      packedBytes: bytes.readUInt32LE(at + 20),
      sizeBytes: bytes.readUInt32LE(at + 24),
      at: bytes.readUInt32LE(at + 42) + moved,
    };
    entries.push(entry);
    if (entry.isEncrypted) faults.add('encrypted');
    packed += entry.packedBytes;
    size += entry.sizeBytes;
    at += 46 + nameBytes + extraBytes + bytes.readUInt16LE(at + 32);
  }
  // Entries that overlap come to more than the whole (the bomb without recursion).
  if (packed > bytes.length || size > Math.max(1024 * 1024, bytes.length * Budget.maxRatio)) faults.add('bomb');
  // A directory that holds nothing, or says that the numbers are elsewhere (ZIP64), has not been read.
  if (entries.length === 0 && bytes.readUInt16LE(end + 10) > 0) faults.add('unread');
  return { entries, faults };
}

function unicodeNameIn(extra: Buffer): string | undefined {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2))
    // A version and a checksum of the plain name stand before it.
    if (extra.readUInt16LE(at) === 0x7075) return extra.toString('utf8', at + 9, at + 4 + extra.readUInt16LE(at + 2));
  return undefined;
}

/** The whole entry or its beginning; undefined when it cannot be unpacked. */
export function inflateEntry(
  bytes: Buffer,
  entry: ZipEntry,
  budget: Budget,
  whole: boolean,
): Buffer | 'bomb' | undefined {
  const { at, method, packedBytes } = entry;
  if (at < 0 || at + 30 > bytes.length || bytes.readUInt32LE(at) !== 0x04034b50) return undefined;
  const from = at + 30 + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28);
  const packed = bytes.subarray(from, Math.min(bytes.length, from + (whole ? packedBytes : PEEK_BYTES)));
  if (method === STORED) return packed;
  if (method !== DEFLATED) return undefined;
  const most = whole ? Math.min(budget.inflateBytes, packedBytes * Budget.maxRatio + 1024) : PEEK_BYTES * 1100;
  if (!whole && --budget.peeks < 0) return undefined;
  return spend(budget, most, () =>
    inflateRawSync(packed, { maxOutputLength: most, finishFlush: constants.Z_SYNC_FLUSH }),
  );
}

/** The content of a gzip file; undefined when it is none. */
export function gunzip(bytes: Buffer, budget: Budget): Buffer | 'bomb' | undefined {
  const most = Math.min(budget.inflateBytes, bytes.length * Budget.maxRatio + 1024);
  return spend(budget, most, () => gunzipSync(bytes, { maxOutputLength: most, finishFlush: constants.Z_SYNC_FLUSH }));
}

function spend(budget: Budget, most: number, inflate: () => Buffer): Buffer | 'bomb' | undefined {
  if (most <= 0) return 'bomb';
  try {
    const content = inflate();
    budget.inflateBytes -= content.length;
    return content;
  } catch (error) {
    // A fault at the very end has cost as much as the whole.
    budget.inflateBytes -= most;
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'bomb' : undefined;
  }
}
