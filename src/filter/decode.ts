/** The octets of a part's body (RFC 2045 section 6), as forgiving as the programs that will read it. */
import type { Encoding } from './mime.ts';

const [EQUALS, CR, LF, SPACE, TAB] = [61, 13, 10, 32, 9];

/** At most `max` octets of the encoded body are looked at. */
export function decodedBody(bytes: Buffer, from: number, to: number, encoding: Encoding, max: number): Buffer {
  const end = Math.min(to, from + max);
  if (encoding === 'base64') return Buffer.from(bytes.toString('latin1', from, end), 'base64');
  return encoding === 'quoted-printable' ? unquotedPrintable(bytes, from, end) : bytes.subarray(from, end);
}

function unquotedPrintable(bytes: Buffer, from: number, to: number): Buffer {
  let at = bytes.indexOf(EQUALS, from);
  if (at < 0 || at >= to) return bytes.subarray(from, to);
  const out = Buffer.allocUnsafe(to - from);
  let length = 0;
  let begin = from;
  while (at >= 0 && at < to) {
    length += bytes.copy(out, length, begin, at);
    const high = hex(bytes[at + 1]);
    const low = hex(bytes[at + 2]);
    if (high >= 0 && low >= 0 && at + 2 < to) {
      out[length++] = high * 16 + low;
      begin = at + 3;
    } else begin = afterSoftBreak(bytes, at, to);
    // What is no escape stands for itself.
    if (begin === at) {
      out[length++] = EQUALS;
      begin++;
    }
    at = bytes.indexOf(EQUALS, begin);
  }
  length += bytes.copy(out, length, begin, to);
  return out.subarray(0, length);
}

/** Behind the line end, when only blanks are between it and the equals sign; else where it stands. */
function afterSoftBreak(bytes: Buffer, at: number, to: number): number {
  let next = at + 1;
  while (next < to && next - at < 100 && (bytes[next] === SPACE || bytes[next] === TAB)) next++;
  if (bytes[next] === CR) next++;
  return bytes[next] === LF ? next + 1 : at;
}

function hex(code: number | undefined): number {
  if (code === undefined) return -1;
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}
