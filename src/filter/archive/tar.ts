/** Names and contents of a tar file (POSIX ustar, with the long names of GNU and pax). */

const BLOCK = 512;
/** Longer names no system can unpack. */
const MAX_NAME_BYTES = 4096;

/** Ends with `unread` where a header cannot be read: what comes behind it is not known. */
export function* listTar(
  bytes: Buffer,
): Generator<{ readonly name: string; readonly content: Buffer } | 'unread', void, void> {
  let longName: string | undefined;
  for (let at = 0; at + BLOCK <= bytes.length; ) {
    if (bytes[at] === 0) return;
    const sizeBytes = sizeAt(bytes, at + 124, 12);
    if (sizeBytes === undefined) {
      yield 'unread';
      return;
    }
    const type = String.fromCharCode(bytes[at + 156] ?? 0);
    const content = bytes.subarray(at + BLOCK, at + BLOCK + sizeBytes);
    if (type === 'L') longName = zeroEnded(content, 0, MAX_NAME_BYTES);
    else if (type === 'x') longName = paxPath(content) ?? longName;
    else {
      const prefix = bytes.toString('latin1', at + 257, at + 262) === 'ustar' ? zeroEnded(bytes, at + 345, 155) : '';
      const name = longName ?? (prefix === '' ? '' : `${prefix}/`) + zeroEnded(bytes, at, 100);
      longName = undefined;
      yield { name, content };
    }
    at += BLOCK + Math.ceil(sizeBytes / BLOCK) * BLOCK;
  }
}

/** Records are `LENGTH KEY=VALUE` and a line end. */
function paxPath(content: Buffer): string | undefined {
  return /(?:^|\n)\d{1,9} path=([^\n]*)\n/.exec(content.toString('utf8', 0, 2 * MAX_NAME_BYTES))?.[1];
}

function zeroEnded(bytes: Buffer, from: number, most: number): string {
  const field = bytes.subarray(from, from + most);
  const zero = field.indexOf(0);
  return field.toString('utf8', 0, zero < 0 ? field.length : zero);
}

/** In octal digits, or in binary where the first bit is set; undefined when it is neither. */
function sizeAt(bytes: Buffer, from: number, length: number): number | undefined {
  if (((bytes[from] as number) & 0x80) !== 0) return bytes.readUIntBE(from + length - 6, 6);
  const text = bytes
    .toString('latin1', from, from + length)
    .replaceAll('\0', ' ')
    .trim();
  return /^[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}
