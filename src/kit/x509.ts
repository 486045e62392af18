/**
 * Certificates (RFC 5280) of a small authority of our own: ECDSA on P-256 with SHA-256, and nothing else.
 *
 * A root signs issuers, an issuer signs leaves for servers. What is read of a certificate is read by Node.
 */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import { parseAddress } from './address.ts';
import { bits, integer, octets, oid, sequence, set, tagged, time, utf8, yes } from './der.ts';

/** Who signs: its name and key as they stand in its own certificate. */
export type Signer = { readonly name: string; readonly key: KeyObject };

export type CertificateFacts = {
  /** a common name of at most 64 characters; empty: none, the names say it all */
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly kind: 'root' | 'issuer' | 'server';
  /** host names and addresses that a server answers to */
  readonly names?: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const COMMON_NAME = oid('2.5.4.3');
const VERSION_3 = tagged(0, true, integer(Buffer.of(2)));
const SERIAL_BYTES = 16;
const MAX_COMMON_NAME = 64;

const extension = (id: string, isCritical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(isCritical ? [yes] : []), octets(value));

/** What each kind may do. An issuer signs no further authority. */
const USES: Readonly<Record<CertificateFacts['kind'], readonly Buffer[]>> = {
  root: [
    extension('2.5.29.19', true, sequence(yes)),
    extension('2.5.29.15', true, bits(Buffer.of(0x06), 1)), // keyCertSign, cRLSign
  ],
  issuer: [
    extension('2.5.29.19', true, sequence(yes, integer(Buffer.of(0)))),
    extension('2.5.29.15', true, bits(Buffer.of(0x06), 1)),
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))), // serverAuth
  ],
  server: [
    extension('2.5.29.19', true, sequence()),
    extension('2.5.29.15', true, bits(Buffer.of(0x80), 7)), // digitalSignature
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
  ],
};

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** A certificate in DER. A root signs itself: `signer` has its own name and key. */
export function issueCertificate(facts: CertificateFacts, signer: Signer): Buffer {
  const spki = spkiOf(facts.publicKey);
  const toBeSigned = sequence(
    VERSION_3,
    integer(randomBytes(SERIAL_BYTES)),
    ECDSA_SHA256,
    nameOf(signer.name),
    sequence(time(facts.notBeforeMs), time(facts.notAfterMs)),
    nameOf(facts.name),
    spki,
    tagged(
      3,
      true,
      sequence(
        ...USES[facts.kind],
        extension('2.5.29.14', false, octets(keyId(spki))),
        extension('2.5.29.35', false, sequence(tagged(0, false, signerId(signer.key)))),
        ...alternativeNames(facts),
      ),
    ),
  );
  return sequence(toBeSigned, ECDSA_SHA256, bits(sign('sha256', toBeSigned, signer.key)));
}

export function toPem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replace(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function nameOf(commonName: string): Buffer {
  return commonName === '' ? sequence() : sequence(set(sequence(COMMON_NAME, utf8(commonName))));
}

/** Section 4.2.1.6: critical where there is no other name. */
function alternativeNames({ name, names = [] }: CertificateFacts): readonly Buffer[] {
  if (names.length === 0) return [];
  const all = names.map((one) => {
    const address = parseAddress(one);
    if (!address) return tagged(2, false, Buffer.from(one, 'latin1'));
    const digits = address.value.toString(16).padStart(address.family === 4 ? 8 : 32, '0');
    return tagged(7, false, Buffer.from(digits, 'hex'));
  });
  return [extension('2.5.29.17', name === '', sequence(...all))];
}

/** A server's common name is its first name, where that is not too long for one (X.520: 64 characters). */
export function commonNameOf(name: string): string {
  return name.length <= MAX_COMMON_NAME ? name : '';
}

/** The name under which a certificate of ours signs. */
export function commonNameIn({ subject }: X509Certificate): string {
  return /^CN=(.*)$/.exec(subject)?.[1] ?? '';
}

const ids = new WeakMap<KeyObject, Buffer>();

/** Found once for each key: it takes longer than the signature. */
function signerId(key: KeyObject): Buffer {
  let id = ids.get(key);
  if (!id) ids.set(key, (id = keyId(spkiOf(createPublicKey(key)))));
  return id;
}

const spkis = new WeakMap<KeyObject, Buffer>();

function spkiOf(publicKey: KeyObject): Buffer {
  let spki = spkis.get(publicKey);
  if (!spki) spkis.set(publicKey, (spki = publicKey.export({ type: 'spki', format: 'der' })));
  return spki;
}

/** RFC 7093 section 2: of SHA-256 the first 160 bits; nobody else has to come to the same. */
function keyId(spki: Buffer): Buffer {
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}
