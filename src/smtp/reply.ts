/**
 * A reply is a value: code, lines, what it was for and what becomes of the connection.
 *
 * Own refusals name their class, the id that the log finds and a URL. Replies of the far side are passed on as bytes.
 */
import { type Class, classUrl, enhancedCode, entryOf } from '../policy/classes.ts';

export type Reply = {
  readonly code: number;
  /** the reply as it goes over the wire, every line with its CRLF */
  readonly bytes: Buffer;
  /** set on our own refusals; undefined on success and on replies of the far side */
  readonly class?: Class;
  /** the connection ends after this reply */
  readonly close?: boolean;
};

/** RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets with its code and CRLF. */
const MAX_LINE = 512;

/** Banner, EHLO's and QUIT's reply are the same for nearly every session: each is made once. */
const made = new Map<string, Reply>();
const MAX_MADE = 100;

/** A reply of our own with success or intermediate code. The lines are ours, so they are ASCII without controls. */
export function reply(code: number, ...lines: string[]): Reply {
  const key = `${code} ${lines.join('\n')}`;
  let found = made.get(key);
  if (!found) {
    if (made.size >= MAX_MADE) made.clear();
    made.set(key, (found = replyOnce(code, lines)));
  }
  return found;
}

/** The same for lines that are one host's alone; they may be a server's, printable. */
export function replyOnce(code: number, lines: readonly string[]): Reply {
  const last = lines.length - 1;
  const text = lines.map((line, i) => `${code}${i === last ? ' ' : '-'}${line}`.slice(0, MAX_LINE - 2)).join('\r\n');
  return { code, bytes: Buffer.from(`${text}\r\n`, 'latin1') };
}

/** `text` stands in the place of the class's own, `note` behind it: when to try again. */
export type How = {
  readonly as?: 'defer' | 'reject';
  readonly close?: boolean;
  readonly note?: string;
  readonly text?: string;
};

/**
 * A refusal of our own: `550 5.7.1 Text [spam.gtube id=0ABC... https://.../spam.gtube]`.
 *
 * `as` overrules the class's own severity where configuration does: a class that is 5xx by nature deferred, or the
 * reverse. A 421 closes the connection, and a 4yz that does is 421 (RFC 5321 section 3.8). The id and the URL are never
 * cut: the text is.
 */
export function refusal(of: Class, id: string, helpUrl: string, how: How = {}): Reply {
  const entry = entryOf(of);
  const severity =
    how.as === 'defer' && entry.code >= 500 ? 451 : how.as === 'reject' && entry.code < 500 ? 554 : entry.code;
  const code = how.close === true && severity < 500 ? 421 : severity;
  const tail = ` [${of} id=${id} ${classUrl(of, helpUrl)}]\r\n`;
  const head = `${code} ${enhancedCode(code, entry)} ${how.text ?? entry.text}${how.note ?? ''}`.slice(
    0,
    MAX_LINE - tail.length,
  );
  const close = how.close === true || code === 421;
  return { code, bytes: Buffer.from(head + tail, 'latin1'), class: of, ...(close && { close }) };
}
