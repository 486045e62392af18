/** A message as a filter sees it: header fields in order, and the body's bytes with the dots undone. */
import type { SpooledBody } from '../wire/spool.ts';
import type { Content } from './inspect.ts';

export type HeaderField = {
  readonly name: string;
  /** unfolded, latin1, at most 16 KiB */
  readonly value: string;
};

/** What is looked at of a header; the rest of a longer one is no header to us. */
const MAX_HEADER_BYTES = 256 * 1024;
const MAX_VALUE = 16 * 1024;
const MAX_NAME = 200;
const SCRATCH_BYTES = 256 * 1024;
const LINE_END = '\r\n';
const END = Buffer.from('\r\n\r\n');
const [TAB, SPACE, DOT, COLON, TILDE] = [9, 32, 46, 58, 126];

export class Message {
  readonly sizeBytes: number;
  readonly #body: SpooledBody;
  #fields: readonly HeaderField[] | undefined;
  #content: Content | Promise<Content> | undefined;
  #over: AbortController | undefined;

  constructor(body: SpooledBody) {
    this.#body = body;
    this.sizeBytes = body.sizeBytes;
  }

  /** Fields from top to bottom; parsed once. Lines that are no field end the header, as they do for every reader. */
  fields(): readonly HeaderField[] {
    this.#fields ??= this.#parse();
    return this.#fields;
  }

  /** What is in it, found by the first who asks: `read` is asked once. The signal aborts when nobody waits any more. */
  content(read: (signal: () => AbortSignal) => Content | Promise<Content>): Content | Promise<Content> {
    this.#content ??= read(() => (this.#over ??= new AbortController()).signal);
    return this.#content;
  }

  /** It has been judged: what is still looked at is looked at in vain, and its bytes are about to go. */
  close(): void {
    this.#over?.abort();
  }

  /** The pieces as they came over the wire, dot-stuffed. Each is there until the next is asked for. */
  raw(): Iterable<Buffer> {
    const { fileBytes } = this.#body;
    return this.#body.read(fileBytes > 0 ? Buffer.allocUnsafe(Math.min(SCRATCH_BYTES, fileBytes)) : undefined);
  }

  #parse(): readonly HeaderField[] {
    const header = this.#header();
    const fields: { readonly name: string; value: string }[] = [];
    let last: { readonly name: string; value: string } | undefined;
    for (let at = 0, end: number; at < header.length; at = end + LINE_END.length) {
      end = header.indexOf(LINE_END, at);
      if (end < 0) end = header.length;
      const begin = header.charCodeAt(at) === DOT ? at + 1 : at;
      if (begin === end) break;
      const first = header.charCodeAt(begin);
      if (first === SPACE || first === TAB) {
        // A fold joined to a value that is cut anyway would only cost memory.
        if (last && last.value.length < MAX_VALUE) last.value += ` ${header.slice(begin, end).trim()}`;
        continue;
      }
      const nameEnd = nameEndOf(header, begin);
      const colon = colonAt(header, nameEnd);
      if (nameEnd === begin || colon < 0) break;
      if (last) last.value = cut(last.value);
      last = { name: header.slice(begin, nameEnd).toLowerCase(), value: header.slice(colon + 1, end) };
      fields.push(last);
    }
    if (last) last.value = cut(last.value);
    return fields;
  }

  /** Up to the empty line, one character for each byte (latin1). Mostly all of it is in the first piece. */
  #header(): string {
    for (const piece of this.#body.read()) {
      const end = piece.indexOf(END);
      if (end >= 0 && end <= MAX_HEADER_BYTES) return piece.toString('latin1', 0, end + LINE_END.length);
      break;
    }
    return this.#joinedHeader().toString('latin1');
  }

  /** Each piece is searched once, with the seam before it. */
  #joinedHeader(): Buffer {
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
      if (end >= 0 && end <= MAX_HEADER_BYTES) return Buffer.concat(pieces, end + LINE_END.length);
      if (length >= MAX_HEADER_BYTES) return Buffer.concat(pieces, MAX_HEADER_BYTES);
      seam = Buffer.concat([seam, piece.subarray(-(END.length - 1))]).subarray(-(END.length - 1));
    }
    // No empty line: all of it is header (RFC 5322 section 2.1 allows a message without a body).
    return Buffer.concat(pieces, length);
  }
}

/** The end of a field's name (RFC 5322 section 2.2: printable US-ASCII without the colon), at most 200 characters. */
function nameEndOf(header: string, begin: number): number {
  const most = Math.min(header.length, begin + MAX_NAME);
  let at = begin;
  for (; at < most; at++) {
    const code = header.charCodeAt(at);
    if (code <= SPACE || code > TILDE || code === COLON) break;
  }
  return at;
}

/** The colon behind a name and any blanks, or -1. */
function colonAt(header: string, nameEnd: number): number {
  let at = nameEnd;
  while (header.charCodeAt(at) === SPACE || header.charCodeAt(at) === TAB) at++;
  return header.charCodeAt(at) === COLON ? at : -1;
}

function cut(value: string): string {
  const trimmed = value.trim();
  return trimmed.length > MAX_VALUE ? trimmed.slice(0, MAX_VALUE) : trimmed;
}
