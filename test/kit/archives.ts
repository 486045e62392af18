/** Archives made by hand, good and hostile ones. */
import { crc32, deflateRawSync } from 'node:zlib';

export type ZipFile = {
  readonly name: string;
  readonly content: Buffer | string;
  readonly isStored?: boolean;
  readonly isEncrypted?: boolean;
  /** where its local header is said to be, in place of where it is */
  readonly at?: number;
};

export function zipOf(files: readonly ZipFile[]): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const { name, content, isStored = false, isEncrypted = false, at: said } of files) {
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
    entries.push(Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 0]), shared, rest, path]));
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
export function rarOf(version: 4 | 5, name: string, isEncrypted = false): Buffer {
  const path = Buffer.from(name);
  if (version === 4) {
    const file = Buffer.alloc(32);
    file[2] = 0x74;
    file.writeUInt16LE(0x8000 | (isEncrypted ? 4 : 0), 3);
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
