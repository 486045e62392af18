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

/**
 * What the domain of a recipient says of the server that a host has called: the class of a domain under which results are
 * counted. `elsewhere`: the server is none of the domain's; `unknown`: the DNS does not say.
 */
export const TLS_POLICIES = ['tlsa', 'sts', 'sts-testing', 'no-policy', 'elsewhere', 'unknown'] as const;
export type TlsPolicy = (typeof TLS_POLICIES)[number];

/** How the server was found to be, in the words of RFC 8460 section 4.3 where it has one. */
export const TLS_RESULTS = [
  'success',
  /** nothing is required, and the server has no TLS */
  'clear',
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'tlsa-invalid',
  /** records that nobody can check: TLS is needed, and nothing more */
  'tlsa-unusable',
  /** the domain's policy does not name the server */
  'validation-failure',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'lookup-failed',
] as const;
export type TlsResult = (typeof TLS_RESULTS)[number];
