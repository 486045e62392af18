/** Archives made by hand, good and hostile ones. */
import { crc32, deflateRawSync } from 'node:zlib';

export type ZipFile = {
  readonly name: string;
  readonly content: Buffer | string;
  readonly isStored?: boolean;
  readonly isEncrypted?: boolean;
  /** where its local header is said to be, in place of where it is */
  readonly at?: number;
  /** the name in a Unicode Path field */
  readonly unicodeName?: string;
};

export function zipOf(files: readonly ZipFile[]): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const { name, content, isStored = false, isEncrypted = false, at: said, unicodeName } of files) {
    const plain = Buffer.from(content as string);
    const packed = isStored ? plain : deflateRawSync(plain);
    const path = Buffer.from(name);
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE((isEncrypted ? 1 : 0) | 0x800, 2);
    shared.writeUInt16LE(isStored ? 0 : 8, 4);
    shared.writeUInt32LE(crc32(plain), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(plain.length, 18);
    shared.writeUInt16LE(path.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), shared, path, packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(said ?? at, 10);
    const other = Buffer.from(unicodeName ?? '');
    const extra =
      unicodeName === undefined
        ? other
        : Buffer.concat([Buffer.from([0x75, 0x70, 5 + other.length, 0, 1, 0, 0, 0, 0]), other]);
    const head = Buffer.from(shared);
    head.writeUInt16LE(extra.length, 24);
    entries.push(Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 0]), head, rest, path, extra]));
    locals.push(local);
    at += local.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(Math.min(files.length, 65_535), 4);
  end.writeUInt16LE(Math.min(files.length, 65_535), 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...locals, directory, Buffer.from('PK\x05\x06'), end]);
}

export function tarOf(files: readonly { readonly name: string; readonly content: Buffer | string }[]): Buffer {
  const blocks = files.flatMap(({ name, content }) => {
    const body = Buffer.from(content as string);
    const head = Buffer.alloc(512);
    head.write(name, 0, 100);
    head.write('0000644\0', 100);
    head.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
    head.write('0', 156);
    head.write('ustar\0', 257);
    return [head, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** RAR of version 4 (one file header) or 5, with names alone. */
/** `coded`: the Unicode name of version 4, behind the plain one. */
export function rarOf(version: 4 | 5, name: string, isEncrypted = false, coded?: Buffer): Buffer {
  const path = coded ? Buffer.concat([Buffer.from(`${name}\0`), coded]) : Buffer.from(name);
  if (version === 4) {
    const file = Buffer.alloc(32);
    file[2] = 0x74;
    file.writeUInt16LE(0x8000 | (isEncrypted ? 4 : 0) | (coded ? 0x200 : 0), 3);
    file.writeUInt16LE(32 + path.length, 5);
    file.writeUInt16LE(path.length, 26);
    const main = Buffer.from([0, 0, 0x73, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0]);
    return Buffer.concat([Buffer.from('Rar!\x1a\x07\0', 'latin1'), main, file, path]);
  }
  const extra = isEncrypted ? Buffer.from([2, 1, 0]) : Buffer.alloc(0);
  const fields = [2, isEncrypted ? 1 : 0, ...(isEncrypted ? [extra.length] : []), 0, 0, 0, 0, 1, path.length];
  const head = Buffer.concat([Buffer.from(fields), path, extra]);
  const main = Buffer.from([0, 0, 0, 0, 3, 1, 0, 0]);
  return Buffer.concat([
    Buffer.from('Rar!\x1a\x07\x01\0', 'latin1'),
    main,
    Buffer.from([0, 0, 0, 0, head.length]),
    head,
  ]);
}

const packed = (base64: string): Buffer => Buffer.from(base64, 'base64');

/** Made by 7-Zip 26.02: setup.exe, readme.txt and dir/b.js; setup.exe; readme.txt. */
export const SEVEN_ZIPS = {
  packedHeader: packed(
    'N3q8ryccAATYhKJDmQAAAAAAAAAiAAAAAAAAACkJRB8BABB4aGVsbG8KTVogcHJvZ3JhbQAAAIEzB64Pz0tvjAfIQ39Bsfr95GF56XUfgLP+B2jWGwFmUO9C6EgjSHnoEbdnJlbbdgN3gW7ugb0eYU+xpDBRVRvScX3wbXKQqb9szj0qaMmFYlTmSweKgbMqD7xs3lsTgBBIUffkuOlAVSF1R5Wvf3G9sswlOc+CE3+yWlXR5x4AAAAXBhUBCYCEAAcLAQABIwMBAQVdABAAAAyAvgoBKC/wyQAA',
  ),
  plainHeader: packed(
    'N3q8ryccAASuRD7rDgAAAAAAAABaAAAAAAAAABsqiYcBAAlNWiBwcm9ncmFtAAEEBgABCQ4ABwsBAAEhIQEADAoACAoBIuVFmQAABQEZDAAAAAAAAAAAAAAAABEVAHMAZQB0AHUAcAAuAGUAeABlAAAAFAoBAEhvSi7kfN0BFQYBACCApIEAAA==',
  ),
  copied: packed(
    'N3q8ryccAASyiYjYCgAAAAAAAABKAAAAAAAAAB2h9HBNWiBwcm9ncmFtAQQGAAEJCgAHCwEAAQEADAoACAoBIuVFmQAABQERFQBzAGUAdAB1AHAALgBlAHgAZQAAABQKAQBIb0ou5HzdARUGAQAggKSBAAA=',
  ),
  paper: packed(
    'N3q8ryccAAR0ljjICgAAAAAAAABiAAAAAAAAANA1n6UBAAVoZWxsbwoAAQQGAAEJCgAHCwEAASEhAQAMBgAICgEgMDo2AAAFARkMAAAAAAAAAAAAAAAAERcAcgBlAGEAZABtAGUALgB0AHgAdAAAABkEAAAAABQKAQBIb0ou5HzdARUGAQAggKSBAAA=',
  ),
  withPassword: packed(
    'N3q8ryccAAT22Td6EAAAAAAAAAByAAAAAAAAAJ5rITJaiv9Ge2+Fn98RZLS6MEwNAQQGAAEJEAAHCwEAAiQG8QcBElMPn1RRhWw6IZ3weQmQ/uhtWCEhAQABAAwKBgAICgEgMDo2AAAFARkBABEXAHIAZQBhAGQAbQBlAC4AdAB4AHQAAAAZBAAAAAAUCgEASG9KLuR83QEVBgEAIICkgQAA',
  ),
  withSecretNames: packed(
    'N3q8ryccAAQ+z9mkgAAAAAAAAAAuAAAAAAAAAIr+V5yFAj3Xi9lY1JlhnmBYqu9xafzhm1BxCTSr0mqVPwmMPQrZIdxhnk+JPB4REwsaq2wfXPwYC7uA2tb/Rs2fqEBzlokRrj0CCXtg/d89lwB3ipgReneZMh2h8z0UF6axl/EuKqOSalK4JTWNBgcVRiSv8x9lh72EEktrQXOn//aBJBcGEAEJcAAHCwEAASQG8QcBElMPwOMHLj9co2HRSokGxrLcNQxqCgHI+CdkAAA=',
  ),
};

/** Made by bzip2 1.0.8: a program; a tar with a.txt and b.vbs; 64 MB of zeros; nothing. */
export const BUNZIPS = {
  zeros: packed(
    'QlpoOTFBWSZTWQ4J4t8BX45AAMAAAAggADCATUZCoCWpCoCXMUFZJlNZFwkgoACKo8EAwABAAAAIIAAwzAUppqhJIbAiSQ8XckU4UJALGuUe',
  ),
  nothing: packed('QlpoORdyRThQkAAAAAA='),
  program: packed('QlpoOTFBWSZTWZoRDFIAAAHXoEAAQAAAAgAQIILQAEAAIAAiAaGQgGmmhQNARE0UvF3JFOFCQmhEMUg='),
  tar: packed(
    'QlpoOTFBWSZTWSx0lCIAAKN7kMkAAEJAAX+AAAhwAJ9ABAAACCAAkoKqpmmpgAaA0BUlJtIaGmjRkNNTfa7FZfA/KwkE72suUfGjuswONJC5FSa7ZsbENWDNSNPSrPKpep1e1WoclKBFFmqQON1M5HhJoxSmiddvJq3ZZJD+LuSKcKEgWOkoRA==',
  ),
};

/** Lines of base64 as a part's body has them; of something large one line, to save time. */
export function base64(content: Buffer | string): string {
  const line = Buffer.from(content as string).toString('base64');
  return line.length > 1 << 20 ? line : line.replace(/.{76}/g, '$&\r\n');
}

/** A message with a text and one file. `fields` are those of the file's part. */
export function withFile(fields: string, content: Buffer | string): string {
  return [
    'From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nSubject: files\r\nMIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee the file\r\n--b',
    `${fields}\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64(content)}\r\n--b--\r\n`,
  ].join('\r\n');
}

export function named(name: string, content: Buffer | string, type = 'application/octet-stream'): string {
  return withFile(`Content-Type: ${type}\r\nContent-Disposition: attachment; filename="${name}"`, content);
}
