/** A message as a filter sees it: header fields in order, and the body's bytes with the dots undone. */
import type { SpooledBody } from '../wire/spool.ts';

export type HeaderField = {
  readonly name: string;
  /** unfolded, latin1, at most 16 KiB */
  readonly value: string;
};

/** What is looked at of a header; the rest of a longer one is no header to us. */
const MAX_HEADER_BYTES = 256 * 1024;
const MAX_VALUE = 16 * 1024;
const SCRATCH_BYTES = 256 * 1024;
const END = Buffer.from('\r\n\r\n');

export class Message {
  readonly sizeBytes: number;
  readonly #body: SpooledBody;
  #fields: readonly HeaderField[] | undefined;

  constructor(body: SpooledBody) {
    this.#body = body;
    this.sizeBytes = body.sizeBytes;
  }

  /** Fields from top to bottom; parsed once. Lines that are no field end the header, as they do for every reader. */
  fields(): readonly HeaderField[] {
    this.#fields ??= this.#parse();
    return this.#fields;
  }

  /** The pieces as they came over the wire, dot-stuffed. Each is there until the next is asked for. */
  raw(): Iterable<Buffer> {
    return this.#body.read(Buffer.allocUnsafe(Math.min(SCRATCH_BYTES, this.sizeBytes)));
  }

  #parse(): readonly HeaderField[] {
    const header = this.#headerBytes();
    const fields: HeaderField[] = [];
    let name = '';
    let value = '';
    const finish = (): void => {
      if (name !== '') fields.push({ name, value: value.trim().slice(0, MAX_VALUE) });
    };
    for (const stuffed of header.toString('latin1').split('\r\n')) {
      const line = stuffed.startsWith('.') ? stuffed.slice(1) : stuffed;
      if (line === '') break;
      if (line.startsWith(' ') || line.startsWith('\t')) {
        // A fold joined to a value that is cut anyway would only cost memory.
        if (value.length < MAX_VALUE) value += ` ${line.trim()}`;
        continue;
      }
      const match = /^([\x21-\x39\x3b-\x7e]{1,200})[ \t]*:/.exec(line);
      if (!match) break;
      finish();
      name = (match[1] as string).toLowerCase();
      value = line.slice(match[0].length);
    }
    finish();
    return fields;
  }

  /** Up to the empty line; each piece is searched once, with the seam before it. */
  #headerBytes(): Buffer {
    const pieces: Buffer[] = [];
    let length = 0;
    let seam: Buffer = Buffer.alloc(0);
    for (const piece of this.#body.read()) {
      const joined = Buffer.concat([seam, piece.subarray(0, END.length - 1)]);
      const inSeam = joined.indexOf(END);
      const inPiece = piece.indexOf(END);
      const end = inSeam >= 0 ? length - seam.length + inSeam : inPiece >= 0 ? length + inPiece : -1;
      pieces.push(piece);
      length += piece.length;
      if (end >= 0 && end <= MAX_HEADER_BYTES) return Buffer.concat(pieces, end + 2);
      if (length >= MAX_HEADER_BYTES) return Buffer.concat(pieces, MAX_HEADER_BYTES);
      seam = Buffer.concat([seam, piece.subarray(-(END.length - 1))]).subarray(-(END.length - 1));
    }
    // No empty line: all of it is header (RFC 5322 section 2.1 allows a message without a body).
    return Buffer.concat(pieces, length);
  }
}
