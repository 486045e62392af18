/** Names and contents of a tar file (POSIX ustar, with the long names of GNU and pax). */

const BLOCK = 512;

export function* listTar(bytes: Buffer): Generator<{ readonly name: string; readonly content: Buffer }, void, void> {
  let longName: string | undefined;
  for (let at = 0; at + BLOCK <= bytes.length; ) {
    if (bytes[at] === 0) return;
    const sizeBytes = octal(bytes, at + 124, 12);
    if (sizeBytes === undefined) return;
    const type = String.fromCharCode(bytes[at + 156] ?? 0);
    const content = bytes.subarray(at + BLOCK, at + BLOCK + sizeBytes);
    if (type === 'L') longName = zeroEnded(content, 0, content.length);
    else if (type === 'x') longName = /\d+ path=([^\n]*)\n/.exec(content.toString('utf8', 0, 4096))?.[1] ?? longName;
    else {
      const prefix = bytes.toString('latin1', at + 257, at + 262) === 'ustar' ? zeroEnded(bytes, at + 345, 155) : '';
      const name = longName ?? (prefix === '' ? '' : `${prefix}/`) + zeroEnded(bytes, at, 100);
      longName = undefined;
      yield { name, content };
    }
    at += BLOCK + Math.ceil(sizeBytes / BLOCK) * BLOCK;
  }
}

function zeroEnded(bytes: Buffer, from: number, most: number): string {
  const zero = bytes.indexOf(0, from);
  return bytes.toString('utf8', from, zero < 0 ? from + most : Math.min(zero, from + most));
}

/** A size; undefined when it is none. */
function octal(bytes: Buffer, from: number, length: number): number | undefined {
  const text = bytes
    .toString('latin1', from, from + length)
    .replace(/[\0 ]+$/, '')
    .trim();
  return /^[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}
