/** EHLO and HELO (RFC 5321 section 4.1.1.1): a new beginning, and what is offered. */
import { reply } from '../reply.ts';
import type { Dialog } from './dialog.ts';
import { noCapabilities } from '../capabilities.ts';

export function hello(dialog: Dialog, argument: string, esmtp: boolean): void {
  // Hosts send underscores and bare addresses here; only what is no single word is refused.
  if (!/^[\x21-\x7e\x80-\xff]{1,255}$/.test(argument)) return dialog.refuse('protocol.argument');
  if (dialog.options.isFarAnswering) return dialog.passOn({ verb: esmtp ? 'EHLO' : 'HELO', argument });
  dialog.endTransaction('session.no-message');
  dialog.helo = argument;
  dialog.esmtp = esmtp;
  dialog.offered = esmtp ? dialog.options.offers() : noCapabilities;
  const name = dialog.options.gatewayName;
  dialog.say(esmtp ? reply(250, name, ...keywords(dialog)) : reply(250, name));
}

/** The keyword lines, in one fixed order. */
function keywords({ offered: offers, isEncrypted, options: { maxSizeBytes } }: Dialog): string[] {
  const lines: string[] = [];
  if (offers.pipelining) lines.push('PIPELINING');
  if (offers.size !== undefined)
    lines.push(`SIZE ${offers.size > 0 ? Math.min(offers.size, maxSizeBytes) : maxSizeBytes}`);
  if (offers.eightBitMime) lines.push('8BITMIME');
  if (offers.smtpUtf8) lines.push('SMTPUTF8');
  if (offers.dsn) lines.push('DSN');
  if (offers.enhancedStatusCodes) lines.push('ENHANCEDSTATUSCODES');
  if (offers.startTls && !isEncrypted) lines.push('STARTTLS');
  return lines;
}
