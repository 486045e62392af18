/** Names in a RAR file, of version 4 (technote.txt) and 5: headers are read, nothing is unpacked. */
import type { ArchiveFault } from './budget.ts';

export type Names = {
  readonly names: readonly string[];
  readonly fault: ArchiveFault | undefined;
  readonly isEncrypted: boolean;
};

const MAX_NAMES = 10_001;
/** Longer names no program packs (2,048 characters). */
const MAX_NAME_BYTES = 8192;

export function listRar(bytes: Buffer): Names {
  return bytes[6] === 1 ? version5(bytes) : version4(bytes);
}

function version4(bytes: Buffer): Names {
  const names: string[] = [];
  let isEncrypted = false;
  for (let at = 7; at + 7 <= bytes.length && names.length < MAX_NAMES; ) {
    const type = bytes[at + 2];
    const flags = bytes.readUInt16LE(at + 3);
    const headBytes = bytes.readUInt16LE(at + 5);
    if (headBytes < 7 || at + headBytes > bytes.length) return { names, fault: 'unread', isEncrypted };
    // The main header says that all others are encrypted.
    if (type === 0x73 && (flags & 0x80) !== 0) return { names, fault: undefined, isEncrypted: true };
    if (type === 0x7b) break;
    let dataBytes = 0;
    if ((flags & 0x8000) !== 0 || type === 0x74) {
      if (at + 32 > bytes.length) return { names, fault: 'unread', isEncrypted };
      dataBytes = bytes.readUInt32LE(at + 7);
    }
    if (type === 0x74) {
      if ((flags & 0x04) !== 0) isEncrypted = true;
      const nameBytes = bytes.readUInt16LE(at + 26);
      if (nameBytes > MAX_NAME_BYTES || nameBytes > headBytes) return { names, fault: 'unread', isEncrypted };
      const from = at + 32 + ((flags & 0x100) !== 0 ? 8 : 0);
      // A Unicode name stands behind the plain one and a zero: a program that unpacks takes the one or the other.
      const name = bytes.subarray(from, from + nameBytes);
      const zero = name.indexOf(0);
      const plain = name.subarray(0, zero < 0 ? name.length : zero);
      names.push(plain.toString('utf8'));
      if (zero >= 0 && (flags & 0x200) !== 0) names.push(unicodeOf(plain, name.subarray(zero + 1)));
    }
    at += headBytes + dataBytes;
  }
  return { names, fault: undefined, isEncrypted };
}

/**
 * A name of version 4 as unpacking programs decode it: two bits for each character or run say where it is from. The first octet is
 * the upper half of characters that give only the lower; a run repeats the plain name from the same position on.
 */
function unicodeOf(plain: Buffer, coded: Buffer): string {
  const next = (): number => coded[at++] ?? 0;
  let at = 0;
  const high = next() << 8;
  const units: number[] = [];
  for (let modes = 0, left = 0; at < coded.length && units.length <= MAX_NAME_BYTES; modes <<= 2, left--) {
    if (left === 0) {
      modes = next();
      left = 4;
    }
    const mode = (modes >> 6) & 3;
    if (mode === 0) units.push(next());
    else if (mode === 1) units.push(high | next());
    else if (mode === 2) units.push(next() | (next() << 8));
    else {
      const run = next();
      const shift = (run & 0x80) !== 0 ? next() : undefined;
      for (let count = (run & 0x7f) + 2; count > 0 && units.length < plain.length; count--) {
        const unit = plain[units.length] as number;
        units.push(shift === undefined ? unit : high | ((unit + shift) & 0xff));
      }
    }
  }
  return String.fromCharCode(...units);
}

function version5(bytes: Buffer): Names {
  const names: string[] = [];
  let isEncrypted = false;
  for (let at = 8; at + 7 < bytes.length && names.length < MAX_NAMES; ) {
    const cursor = { at: at + 4 };
    const headBytes = vint(bytes, cursor);
    const begin = cursor.at;
    const type = vint(bytes, cursor);
    const flags = vint(bytes, cursor);
    if (!headBytes || type === undefined || flags === undefined) return { names, fault: 'unread', isEncrypted };
    const end = begin + headBytes;
    const extraBytes = (flags & 1) !== 0 ? (vint(bytes, cursor) ?? 0) : 0;
    const dataBytes = (flags & 2) !== 0 ? (vint(bytes, cursor) ?? 0) : 0;
    // What is extra is the end of the header.
    if (end > bytes.length || extraBytes > end - cursor.at) return { names, fault: 'unread', isEncrypted };
    if (type === 4) return { names, fault: undefined, isEncrypted: true };
    if (type === 5) break;
    if (type === 2) {
      const fileFlags = vint(bytes, cursor) ?? 0;
      vint(bytes, cursor);
      vint(bytes, cursor);
      cursor.at += ((fileFlags & 2) !== 0 ? 4 : 0) + ((fileFlags & 4) !== 0 ? 4 : 0);
      vint(bytes, cursor);
      vint(bytes, cursor);
      const nameBytes = vint(bytes, cursor) ?? 0;
      if (nameBytes > MAX_NAME_BYTES || nameBytes > end - cursor.at) return { names, fault: 'unread', isEncrypted };
      names.push(bytes.toString('utf8', cursor.at, cursor.at + nameBytes));
      if (extraBytes > 0 && hasEncryption(bytes, end - extraBytes, end)) isEncrypted = true;
    }
    at = end + dataBytes;
  }
  return { names, fault: undefined, isEncrypted };
}

/** A record of type 1 in the extra area of a file header. */
function hasEncryption(bytes: Buffer, from: number, to: number): boolean {
  for (const cursor = { at: from }; cursor.at < to; ) {
    const size = vint(bytes, cursor);
    const next = cursor.at + (size ?? 0);
    if (size === undefined || size === 0) return false;
    if (vint(bytes, cursor) === 1) return true;
    cursor.at = next;
  }
  return false;
}

/** Seven bits an octet, the low ones first; undefined past the end. */
function vint(bytes: Buffer, cursor: { at: number }): number | undefined {
  let value = 0;
  for (let shift = 0; shift < 49; shift += 7) {
    const octet = bytes[cursor.at++];
    if (octet === undefined) return undefined;
    value += (octet & 0x7f) * 2 ** shift;
    if (octet < 0x80) return value;
  }
  return undefined;
}
