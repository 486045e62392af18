/**
 * The replies of a far server, cut out of its bytes, without I/O.
 *
 * Strict, because a reply that is read wrongly is given to the wrong command (RFC 5321 section 4.2): three digits from
 * 200 to 599, blank or hyphen, the same code in every line, lines end in CRLF and nothing else. Whatever breaks this is
 * garbage, and after garbage nothing more is read: where the next reply would begin is unknown.
 */

export type ParsedReply = {
  readonly code: number;
  /** the whole reply, every line printable, ended by CRLF and at most 512 octets: safe to pass on */
  readonly bytes: Buffer;
};

export type Parsed = {
  readonly replies: readonly ParsedReply[];
  /** what was wrong with the bytes after these replies; the connection is of no more use */
  readonly garbage?: string;
};

/** RFC 5321 section 4.5.3.1.5: 512 octets with code and CRLF. Longer lines are read, and cut when they are passed on. */
const MAX_LINE_BYTES = 512;
const MAX_REPLY_BYTES = 64 * 1024;
const MAX_REPLY_LINES = 100;

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const HYPHEN = 45;
const TILDE = 126;
const UNKNOWN = 0x3f;

const NOTHING = Buffer.alloc(0);

export class FarReplyParser {
  /** the reply that is not whole yet, from its first byte */
  #held: Buffer = NOTHING;
  #heldBytes = 0;
  // Where the reading of that reply stands; all offsets are from its first byte.
  #lineAt = 0;
  #lines = 0;
  #code = 0;
  #needsCleaning = false;
  #isOver = false;

  /** Bytes of a reply have come that is not whole yet. */
  get isMidReply(): boolean {
    return this.#heldBytes > 0;
  }

  /**
   * Reads on. However the bytes are cut into chunks, the same replies and the same garbage come out. The chunk is lent:
   * what is kept of it is a copy.
   */
  push(chunk: Buffer): Parsed {
    if (this.#isOver) return { replies: [], garbage: 'bytes after garbage' };
    const data = this.#heldBytes > 0 ? this.#hold(chunk) : chunk;
    const replies: ParsedReply[] = [];
    let replyAt = 0;
    let scanFrom = data.length - chunk.length;
    for (;;) {
      const end = data.indexOf(LF, scanFrom);
      if (end < 0) break;
      scanFrom = end + 1;
      const isLast = this.#readLine(data, replyAt + this.#lineAt, end, end + 1 - replyAt);
      if (typeof isLast === 'string') return this.#garbage(replies, isLast);
      this.#lineAt = end + 1 - replyAt;
      if (!isLast) continue;
      const raw = data.subarray(replyAt, end + 1);
      replies.push({ code: this.#code, bytes: this.#needsCleaning ? cleaned(raw) : Buffer.from(raw) });
      replyAt = end + 1;
      this.#lineAt = 0;
      this.#lines = 0;
      this.#needsCleaning = false;
    }
    if (data.length - replyAt > MAX_REPLY_BYTES) return this.#garbage(replies, TOO_LONG);
    this.#keep(data, replyAt);
    return { replies };
  }

  /** One line from `at` to its LF at `end`: whether it is the reply's last, or what is wrong with it. */
  #readLine(data: Buffer, at: number, end: number, replyBytes: number): boolean | string {
    const textEnd = end - 1;
    if (textEnd < at || data[textEnd] !== CR) return 'a line that does not end in CRLF';
    if (replyBytes > MAX_REPLY_BYTES) return TOO_LONG;
    if (++this.#lines > MAX_REPLY_LINES) return `a reply of more than ${MAX_REPLY_LINES} lines`;
    const code = readCode(data, at, textEnd);
    if (code === undefined) return 'a line that does not begin with a reply code';
    if (this.#lines === 1) this.#code = code;
    else if (this.#code !== code) return 'a reply with two codes';
    for (let i = at + 3; i < textEnd; i++) {
      const byte = data[i] as number;
      if (byte === CR) return 'a bare CR';
      if ((byte < SPACE && byte !== TAB) || byte > TILDE) this.#needsCleaning = true;
    }
    if (end + 1 - at > MAX_LINE_BYTES) this.#needsCleaning = true;
    const separator = data[at + 3];
    // RFC 5321 section 4.2.1: a code alone is a whole line.
    if (separator === HYPHEN) return false;
    return separator === SPACE || at + 3 === textEnd ? true : 'a code that is followed by neither blank nor hyphen';
  }

  #garbage(replies: readonly ParsedReply[], garbage: string): Parsed {
    this.#isOver = true;
    this.#held = NOTHING;
    this.#heldBytes = 0;
    return { replies, garbage };
  }

  /** Appends to what is held, growing by doubling, so that single bytes cost no copy of the whole each. */
  #hold(chunk: Buffer): Buffer {
    const length = this.#heldBytes + chunk.length;
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(256, 2 * length));
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldBytes);
    return this.#held.subarray(0, length);
  }

  #keep(data: Buffer, from: number): void {
    const length = data.length - from;
    if (length > 0 && from === 0 && this.#heldBytes > 0) {
      this.#heldBytes = length;
      return;
    }
    this.#heldBytes = 0;
    this.#held = NOTHING;
    if (length === 0) return;
    this.#hold(data.subarray(from));
    this.#heldBytes = length;
  }
}

const TOO_LONG = `a reply longer than ${MAX_REPLY_BYTES / 1024} KiB`;

/** 200 to 599 (RFC 5321 has no use for 1yz); servers do answer with digits that its grammar lacks, such as 571. */
function readCode(data: Buffer, at: number, end: number): number | undefined {
  if (end - at < 3) return undefined;
  const [a, b, c] = [data[at] as number, data[at + 1] as number, data[at + 2] as number];
  const isCode = a >= 0x32 && a <= 0x35 && b >= 0x30 && b <= 0x39 && c >= 0x30 && c <= 0x39;
  return isCode ? (a - 0x30) * 100 + (b - 0x30) * 10 + (c - 0x30) : undefined;
}

/** A copy with `?` for everything unprintable and with long lines cut. */
function cleaned(raw: Buffer): Buffer {
  const out = Buffer.allocUnsafe(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; ) {
    const end = raw.indexOf(LF, at);
    const textEnd = Math.min(end - 1, at + MAX_LINE_BYTES - 2);
    for (let i = at; i < textEnd; i++) {
      const byte = raw[i] as number;
      out[length++] = (byte < SPACE && byte !== TAB) || byte > TILDE ? UNKNOWN : byte;
    }
    out[length++] = CR;
    out[length++] = LF;
    at = end + 1;
  }
  return out.subarray(0, length);
}

/** The text of each line, without code, separator and CRLF. */
export function textLines(reply: ParsedReply): string[] {
  const lines = reply.bytes.toString('latin1').split('\r\n');
  return lines.slice(0, -1).map((line) => line.slice(4));
}

/** A reply on one line, for a log: `550 5.1.1 No such user / try another`. */
export function oneLine(reply: ParsedReply): string {
  return `${reply.code} ${textLines(reply).join(' / ')}`.trimEnd();
}
