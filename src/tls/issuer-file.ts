/**
 * What the keeper hands to the workers so that each can make certificates for the names that hosts ask for: one file,
 * replaced whole, with an issuing key, its certificate and a secret for session tickets.
 */
import { createPrivateKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { commonNameIn, toPem, type Signer } from '../kit/x509.ts';

export type Issuer = {
  readonly signer: Signer;
  readonly certificatePem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** of all workers, so that a session begun with one can be resumed with another */
  readonly ticketSecret: Buffer;
};

const TICKETS = /-----BEGIN POSTERN TICKET SECRET-----\n([A-Za-z0-9+/=]{44})\n/;
const SECRET_BYTES = 32;

export function issuerText(key: KeyObject, certificate: Buffer): string {
  return (
    `${toPem(certificate)}${key.export({ type: 'pkcs8', format: 'pem' })}` +
    `-----BEGIN POSTERN TICKET SECRET-----\n${randomBytes(SECRET_BYTES).toString('base64')}\n-----END POSTERN TICKET SECRET-----\n`
  );
}

/** Throws when it is none. */
export function parseIssuer(text: string): Issuer {
  const certificate = new X509Certificate(text);
  const key = createPrivateKey(text);
  const [, secret] = TICKETS.exec(text) ?? [];
  if (secret === undefined || !certificate.checkPrivateKey(key)) throw new Error('its parts do not belong together');
  return {
    signer: { name: commonNameIn(certificate), key },
    certificatePem: toPem(certificate.raw),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    ticketSecret: Buffer.from(secret, 'base64'),
  };
}
