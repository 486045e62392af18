/**
 * MAIL (RFC 5321 section 4.1.1.2): answered from what we know and held back until the first RCPT, unless the far side
 * answers this session itself.
 */
import { parsePath } from '../command.ts';
import { readMailParameters } from '../parameters.ts';
import { reply } from '../reply.ts';
import type { Dialog } from './dialog.ts';

export function mail(dialog: Dialog, argument: string): void {
  if (dialog.helo === undefined || dialog.transaction) return dialog.refuse('protocol.sequence');
  const { maxMessages } = dialog.options;
  if (maxMessages > 0 && dialog.messages >= maxMessages) return dialog.refuse('limit.session', true);
  const parsed = parsePath('FROM', argument);
  if (!parsed) return dialog.refuse('protocol.argument');
  // A host that said HELO has no parameters (RFC 5321 section 4.1.1.11).
  if (!dialog.esmtp && parsed.parameters.size > 0) return dialog.refuse('protocol.parameter');
  const parameters = readMailParameters(parsed.parameters, {
    now: dialog.offered,
    ever: dialog.options.everOffered,
  });
  if ('refuse' in parameters) return dialog.refuse(parameters.refuse);
  if (hasEightBit(parsed.path) && !parameters.smtpUtf8) return dialog.refuse('protocol.argument');
  const limitBytes = dialog.offered.size
    ? Math.min(dialog.offered.size, dialog.options.maxSizeBytes)
    : dialog.options.maxSizeBytes;
  if ((parameters.sizeBytes ?? 0) > limitBytes) return dialog.refuse('body.size');
  // What came in encrypted goes on encrypted, or not at all.
  dialog.begin({
    id: dialog.options.newId(),
    from: {
      path: parsed.path,
      parameters: parameters.text,
      needs: dialog.isEncrypted ? [...parameters.needs, 'STARTTLS'] : parameters.needs,
    },
    smtpUtf8: parameters.smtpUtf8,
    recipients: [],
  });
  if (dialog.options.isFarAnswering) dialog.passOn({ verb: 'MAIL', argument });
  else dialog.say(ACCEPTED);
}

const ACCEPTED = reply(250, '2.1.0 Sender accepted');

/** Octets above 127 in an address need SMTPUTF8 (RFC 6531 section 3.3). */
export function hasEightBit(path: string): boolean {
  return /[\x80-\xff]/.test(path);
}
