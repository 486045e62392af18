/** RCPT (RFC 5321 section 4.1.1.3): the far side's answer is the answer. */
import { parsePath } from '../command.ts';
import { readRecipientParameters } from '../parameters.ts';
import type { Dialog } from './dialog.ts';
import { hasEightBit } from './mail.ts';

export function rcpt(dialog: Dialog, argument: string): void {
  const transaction = dialog.transaction;
  if (!transaction) return dialog.refuse('protocol.sequence');
  const parsed = parsePath('TO', argument);
  if (!parsed) return dialog.refuse('protocol.argument');
  // A host that said HELO has no parameters (RFC 5321 section 4.1.1.11).
  if (!dialog.esmtp && parsed.parameters.size > 0) return dialog.refuse('protocol.parameter');
  const parameters = readRecipientParameters(parsed.parameters, {
    now: dialog.offered,
    ever: dialog.options.everOffered,
  });
  if ('refuse' in parameters) return dialog.refuse(parameters.refuse);
  if (hasEightBit(parsed.path) && !transaction.smtpUtf8) return dialog.refuse('protocol.argument');
  if (transaction.recipients.length >= dialog.options.maxRecipients) return dialog.refuse('limit.recipients');
  dialog.ask(transaction, { path: parsed.path, parameters: parameters.text });
}
