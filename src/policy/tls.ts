/** What is known of the TLS of a host's leg, and what follows from how it failed. */
import type { Class } from './classes.ts';

/** What was agreed on with the host. */
export type TlsFacts = {
  /** `TLSv1.3` */
  readonly version: string;
  readonly cipher: string;
  /** that it asked for (SNI) */
  readonly name: string | undefined;
  readonly isResumed: boolean;
};

/** Why a handshake did not come about, or TLS ended: a closed list, since it is a label. */
export const TLS_CAUSES = [
  /** the host says that it does not accept our certificate */
  'certificate',
  /** it closed the connection once it was shown ours, and before the handshake was done */
  'left',
  /** it closed the connection before */
  'closed',
  'timeout',
  /** no version or cipher in common */
  'version',
  /** no TLS, or TLS that is wrong */
  'not-tls',
  /** another alert of the host's */
  'alert',
  'renegotiation',
  /** we ended the session meanwhile */
  'stopped',
] as const;
export type TlsCause = (typeof TLS_CAUSES)[number];

/**
 * Whether a host has looked at our certificate and gone: the handshake is done, and its next word is QUIT, or none. So
 * does Postfix when it verifies. Who goes on with EHLO (a mail server, a monitoring probe) has taken the certificate, and
 * may leave without a message for whatever reason.
 */
export function turnedAway(session: { readonly isEncrypted: boolean; readonly helo: string | undefined }): boolean {
  return session.isEncrypted && session.helo === undefined;
}

export function classOfFailure(cause: TlsCause): Class {
  return cause === 'certificate' || cause === 'left' ? 'tls.client-refused' : 'tls.handshake';
}
