/**
 * What a complaint says: a report (RFC 5965), or a mail to which the message is attached, or in which it is quoted. Whose message
 * it was stands in our own Received line; a host can have put others below it, so the first counts. What stands in a field of
 * another name, or in a body where there is a header, is the host's word and no line of ours.
 *
 * Whoever writes is a stranger: sizes, parts and depth are bounded, and each octet is looked at a bounded number of times.
 */
import type { Complained } from '../policy/feedback.ts';
import { isComplained } from '../policy/feedback.ts';

export type Read = {
  readonly type: Complained;
  /** the id in a report of our own, or in our topmost Received line */
  readonly id: string | undefined;
  /** whether it is a report of our own, sent back */
  readonly isOwn: boolean;
  /** of the message, with its brackets */
  readonly messageId: string | undefined;
  /** from which address it came, and when, where a report says so; in ms since 1970 */
  readonly source: string | undefined;
  readonly arrivedMs: number | undefined;
  /** of the message's envelope, without brackets; the null sender is `<>` */
  readonly sender: string | undefined;
};

const MAX_PARTS = 100;
const MAX_DEPTH = 8;
const HEADERS = 'text/rfc822-headers';

type Entity = { readonly head: string; readonly body: string };
type Leaf = Entity & { readonly type: string };

/** `mail`: one character for each octet. */
export function readComplaint(mail: string, gateway: string): Read {
  const leaves: Leaf[] = [];
  const whole = entityOf(mail.replace(/\r?\n/g, '\n'));
  collect(whole, leaves, 0);
  const report = leaves.find(({ type }) => type === 'message/feedback-report');
  const fields = report?.body.replace(/\n[ \t]+/g, ' ') ?? '';
  // The complaint's own header is not looked at: it may have come through this gateway.
  const headers = leaves.filter(({ type, body }) => type === HEADERS && body.trim() !== '').map(headerOf);
  const quoted = (headers.length > 0 ? headers : leaves.filter((leaf) => leaf !== report).map(textOf)).join('\n');
  const ownId = isOurs(fields, gateway) ? fieldIn(fields, 'X-Postern-Id') : undefined;
  return {
    type: typeOf(fieldIn(fields, 'Feedback-Type')),
    // What a report of ours quotes has not been marked by us, whatever stands in it.
    id: ownId ?? traceIn(quoted, gateway),
    isOwn: ownId !== undefined,
    messageId: /<[^<>\s]{1,500}>/.exec(fieldIn(quoted, 'Message-ID') ?? '')?.[0],
    source: fieldIn(fields, 'Source-IP')?.slice(0, 64),
    arrivedMs: timeIn(fieldIn(fields, 'Arrival-Date') ?? fieldIn(fields, 'Received-Date')),
    sender: senderIn(fieldIn(fields, 'Original-Mail-From')),
  };
}

function collect({ head, body }: Entity, into: Leaf[], depth: number): void {
  if (into.length >= MAX_PARTS || depth > MAX_DEPTH) return;
  const content = fieldIn(head, 'Content-Type') ?? 'text/plain';
  const type = (content.split(';', 1)[0] ?? '').trim().toLowerCase();
  const decoded = decodedAs(fieldIn(head, 'Content-Transfer-Encoding'), body);
  const boundary = /;\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(content);
  if (type.startsWith('multipart/') && boundary) {
    const pieces = `\n${body}`.split(`\n--${boundary[1] ?? boundary[2]}`);
    for (const piece of pieces.slice(1, MAX_PARTS)) {
      if (piece.startsWith('--')) break;
      collect(entityOf(piece.slice(piece.indexOf('\n') + 1)), into, depth + 1);
    }
  } else if (type === 'message/rfc822' || type === 'message/global') {
    const inner = entityOf(decoded);
    // What it is about is its header; what is in it may be the message itself, sent on once more.
    into.push({ type: HEADERS, head: '', body: inner.head });
    collect(inner, into, depth + 1);
  } else into.push({ type, head, body: decoded });
}

/** Up to the first empty line: some send the body, too. */
function headerOf({ body }: Leaf): string {
  return entityOf(body.replace(/^\n+/, '')).head;
}

/** Lines that are quoted lose their marks, and what was folded is one line again. */
function textOf({ type, body }: Leaf): string {
  if (!type.startsWith('text/') && type !== '') return '';
  const plain =
    type === 'text/html'
      ? body
          .replace(/<\/?(?:br|div|p|pre|blockquote)\b[^<>]{0,200}>/gi, '\n')
          .replace(/&lt;/g, '<')
          .replace(/&gt;/g, '>')
      : body;
  return plain.replace(/^(?:[>|] ?){1,9}/gm, '').replace(/\n[ \t]+/g, ' ');
}

/** As gateway/trace.ts writes it: between the field's name and ours there is no place for another's words. */
function traceIn(text: string, gateway: string): string | undefined {
  const name = gateway.replace(/[^\w-]/g, '\\$&');
  const from = String.raw`^Received:\s{1,9}from [^\s()]{1,600}\s{1,9}\(\[[\w.:]{1,60}\]\)`;
  const by = String.raw`\s{1,9}by ${name} \(Postern\) with \w{1,20} id ([0-9A-HJKMNP-TV-Z]{16})\b`;
  return new RegExp(from + by, 'im').exec(text)?.[1];
}

function isOurs(fields: string, gateway: string): boolean {
  return (
    fieldIn(fields, 'Reporting-MTA')
      ?.replace(/^dns;\s*/i, '')
      .toLowerCase() === gateway.toLowerCase()
  );
}

function entityOf(text: string): Entity {
  if (text.startsWith('\n')) return { head: '', body: text.slice(1) };
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end);
  return { head: head.replace(/\n[ \t]+/g, ' '), body: end < 0 ? '' : text.slice(end + 2) };
}

function fieldIn(text: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'im').exec(text)?.[1]?.trim();
}

function decodedAs(encoding: string | undefined, body: string): string {
  const plain = (text: string): string => text.replace(/\r?\n/g, '\n');
  if (/^base64$/i.test(encoding ?? '')) return plain(Buffer.from(body, 'base64').toString('latin1'));
  if (!/^quoted-printable$/i.test(encoding ?? '')) return body;
  return body
    .replace(/=\n/g, '')
    .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** A mail that somebody has sent on without a word is a complaint, too. */
function typeOf(text: string | undefined): Complained {
  const word = text?.toLowerCase() ?? 'abuse';
  return isComplained(word) ? word : 'other';
}

function timeIn(text: string | undefined): number | undefined {
  const at = text === undefined ? Number.NaN : Date.parse(text.slice(0, 200).replace(/\([^()]{0,80}\)/g, ''));
  return Number.isNaN(at) || at < 0 ? undefined : at;
}

function senderIn(text: string | undefined): string | undefined {
  const path = text?.slice(0, 500);
  return path === '<>' ? path : path?.replace(/^<(.*)>$/, '$1');
}
