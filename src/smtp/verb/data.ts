/** DATA (RFC 5321 section 4.1.1.4): 354 by us once one recipient stands. */
import type { Dialog } from './dialog.ts';
import { hasAccepted } from '../transaction.ts';

export function data(dialog: Dialog, argument: string): void {
  const transaction = dialog.transaction;
  if (argument !== '') {
    dialog.expectStrayBody();
    return dialog.refuse('protocol.argument');
  }
  if (!transaction || !hasAccepted(transaction)) {
    dialog.expectStrayBody();
    return dialog.refuse('protocol.sequence');
  }
  dialog.readBody(transaction);
}
