/** STARTTLS (RFC 3207): 220, then TLS; after it this is a new session. */
import { reply } from '../reply.ts';
import type { Dialog } from './dialog.ts';

const GO_AHEAD = reply(220, '2.0.0 Ready to start TLS');

export function startTls(dialog: Dialog, argument: string): void {
  if (argument !== '') return dialog.refuse('protocol.argument');
  if (dialog.isEncrypted) return dialog.refuse('protocol.sequence');
  if (!dialog.offered.startTls) return dialog.refuse('protocol.not-offered');
  // What comes with it came in clear: run after the handshake it would pass for the host's own word inside TLS.
  if (dialog.options.isFollowed()) return dialog.refuse('tls.pipelined', true);
  dialog.endTransaction('session.no-message');
  dialog.say(GO_AHEAD);
  dialog.secure();
}
