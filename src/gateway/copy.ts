/** What a report is to quote of a refused message, for the keeper: only where somebody is to be told, and as often as he will be. */
import type { Network } from '../config/schema.ts';
import type { Message } from '../filter/message.ts';
import type { Class } from '../policy/classes.ts';
import { feedbackOf } from '../policy/feedback.ts';
import { MAX_COPY_BYTES } from '../record/events.ts';
import type { Rooms } from './rooms.ts';
import type { Work } from './work.ts';

const HEADER_END = '\r\n\r\n';

/** Before the attempt is recorded: while the message is still there, and so that the keeper has it first. */
export function handOverCopy(rooms: Rooms, work: Work, message: Message, of: Class): void {
  const { from, perHour } = rooms.config.reports;
  const { network, subject } = work.origin;
  if (from === undefined || network.report === 'none' || network.log !== 'full') return;
  if (feedbackOf(of, work.findings) === undefined) return;
  if (!rooms.quoted.take(subject, perHour, rooms.clock.nowMs())) return;
  // What harms is sent nowhere.
  const isWhole = of !== 'virus.found' && isQuotedWhole(network, message);
  const octets = isWhole ? textOf(message) : headerOf(message);
  rooms.ledger.record({
    kind: 'copy',
    id: work.transaction.id,
    isWhole,
    octets: Buffer.from(octets, 'latin1').toString('base64'),
  });
}

function isQuotedWhole({ report }: Network, { sizeBytes }: Message): boolean {
  return report === 'message' && sizeBytes <= MAX_COPY_BYTES;
}

/** One character for each octet, up to the empty line and without it: a header that never ends is cut. */
function headerOf(message: Message): string {
  const text = textOf(message);
  const end = text.indexOf(HEADER_END);
  return end < 0 ? text.slice(0, text.lastIndexOf('\r\n') + 2) : text.slice(0, end + 2);
}

/** As much as is quoted, with the dots undone (RFC 5321 section 4.5.2). */
function textOf(message: Message): string {
  let text = '';
  for (const piece of message.raw()) {
    text += piece.toString('latin1', 0, MAX_COPY_BYTES - text.length);
    if (text.length >= MAX_COPY_BYTES) break;
  }
  return text.replace(/(^|\r\n)\./g, '$1');
}
