/** What is added to a message, on top: the Received line (RFC 5321 section 4.4), and above it a line for each tag. */
import type { Arrival } from '../intercept/arrival.ts';
import type { HeaderField } from '../filter/message.ts';
import { parseAddress } from '../kit/address.ts';
import { shortHash } from '../kit/ids.ts';
import type { Class } from '../policy/classes.ts';

export type TraceFacts = {
  readonly gatewayName: string;
  readonly arrival: Arrival;
  readonly helo: string;
  /** RFC 3848, RFC 6531: `ESMTP`, and with TLS `ESMTPS` */
  readonly protocol: string;
  readonly id: string;
  /** the recipient, when there is exactly one: with more, the line would tell each of the others */
  readonly soleRecipient: string | undefined;
  readonly nowMs: number;
};

/** Folded, CRLF-ended, latin1 bytes. What a host said (HELO, recipient) is reduced to characters that can't forge a line. */
export function receivedLine(facts: TraceFacts): Buffer {
  const { arrival } = facts;
  const literal = parseAddress(arrival.source)?.family === 6 ? `IPv6:${arrival.source}` : arrival.source;
  const recipient =
    facts.soleRecipient === undefined ? '' : `\r\n\tfor ${plain(facts.soleRecipient, /[^\x21-\x7e\x80-\xff]/g)}`;
  return Buffer.from(
    `Received: from ${plain(facts.helo, /[^A-Za-z0-9.:[\]_-]/g)} ([${literal}])\r\n` +
      `\tby ${facts.gatewayName} (Postern) with ${facts.protocol} id ${facts.id}${recipient};\r\n` +
      `\t${rfc5322Date(facts.nowMs)}\r\n`,
    'latin1',
  );
}

/** Above the Received line, where no host can have put one: what stands below is the host's own. */
export function tagLines(tags: readonly Class[], id: string): Buffer {
  return Buffer.from(tags.map((tag) => `X-Postern-Tag: ${tag}; id=${id}\r\n`).join(''), 'latin1');
}

/** A path is at most 512 octets and its brackets; an EHLO word 255 (smtp/command.ts, smtp/verb/hello.ts). */
const MAX_WORD = 514;

function plain(text: string, forbidden: RegExp): string {
  return text.slice(0, MAX_WORD).replace(forbidden, '?');
}

let dateSecond = Number.NaN;
let date = '';

/** Made once a second: it tells no more. */
function rfc5322Date(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) date = new Date(nowMs).toUTCString().replace('GMT', '+0000');
  dateSecond = second;
  return date;
}

/**
 * A message that has passed too many servers, or this gateway twice already, goes in a circle. Once is no loop: mail may
 * come back to a host inside and be forwarded from there.
 */
export function isLoop(fields: readonly HeaderField[], gatewayName: string, maxReceived: number): boolean {
  const received = fields.filter(({ name }) => name === 'received');
  const own = received.filter(({ value }) => value.includes(`by ${gatewayName} (Postern)`));
  return received.length > maxReceived || own.length >= 2;
}

const MESSAGE_ID = /<[^<>\s]{1,500}>/;

/** By it the record of a message is found again when somebody complains; undefined where it has no Message-ID. */
export function messageHashOf(fields: readonly HeaderField[]): string | undefined {
  const field = fields.find(({ name }) => name === 'message-id');
  const id = field && MESSAGE_ID.exec(field.value)?.[0];
  return id && shortHash(id);
}
