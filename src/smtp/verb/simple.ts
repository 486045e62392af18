/** The verbs that need one line each. */
import { reply } from '../reply.ts';
import type { Dialog } from './dialog.ts';

const RESET = reply(250, '2.0.0 Reset');
const OK = reply(250, '2.0.0 OK');

export function rset(dialog: Dialog, argument: string): void {
  if (argument !== '') return dialog.refuse('protocol.argument');
  dialog.endTransaction('session.no-message');
  if (dialog.options.isFarAnswering) dialog.passOn({ verb: 'RSET', argument });
  else dialog.say(RESET);
}

export function noop(dialog: Dialog): void {
  dialog.say(OK);
}

export function quit(dialog: Dialog): void {
  dialog.endTransaction('session.no-message');
  if (dialog.options.isFarAnswering) return dialog.passOn({ verb: 'QUIT', argument: '' });
  dialog.say({ ...reply(221, `2.0.0 ${dialog.options.gatewayName} closing`), close: true });
}

/** Never a hint about who exists: the far side says so at RCPT (RFC 5321 section 3.5.3 allows 252). */
export function vrfy(dialog: Dialog, argument: string): void {
  if (argument === '') return dialog.refuse('protocol.argument');
  dialog.say(reply(252, '2.5.2 Cannot verify; try RCPT'));
}

export function expn(dialog: Dialog): void {
  dialog.refuse('protocol.not-offered');
}

export function help(dialog: Dialog): void {
  dialog.say(reply(214, `2.0.0 RFC 5321; what a refusal means: ${dialog.options.helpUrl}`));
}
