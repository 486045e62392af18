/**
 * DANE for SMTP (RFC 7672): whether what a server has shown is what the TLSA records of its name say.
 *
 * Certificate usages 2 and 3 alone, as section 3.1.3 has it; with 3 neither name nor dates of a certificate count.
 */
import { createHash, X509Certificate } from 'node:crypto';
import type { Peer } from './peer.ts';

/** As `SecureDns` gives it: usage, selector, matching type, data in hex. */
type Tlsa = { readonly usage: 2 | 3; readonly selector: 0 | 1; readonly matching: 0 | 1 | 2; readonly data: string };

const HEX_DIGITS = { 1: 64, 2: 128 } as const;

/** `unusable`: records that nobody can check, so TLS is needed and nothing more (RFC 7672 section 2.2). */
export function checkDane(
  records: readonly string[],
  { chain }: Peer,
  names: readonly string[],
  nowMs: number,
): 'matches' | 'unusable' | 'differs' {
  const usable = records.flatMap((record) => parseTlsa(record) ?? []);
  if (usable.length === 0) return 'unusable';
  const [leaf] = chain;
  if (!leaf) return 'differs';
  const matches = usable.some((tlsa) =>
    tlsa.usage === 3 ? isOf(tlsa, leaf) : isBelow(tlsa, chain, nowMs) && names.some((name) => leaf.checkHost(name)),
  );
  return matches ? 'matches' : 'differs';
}

function parseTlsa(record: string): Tlsa | undefined {
  const [usage, selector, matching, data = ''] = record.split(' ');
  const tlsa = { usage: Number(usage), selector: Number(selector), matching: Number(matching), data };
  return isUsable(tlsa) ? tlsa : undefined;
}

function isUsable(tlsa: { usage: number; selector: number; matching: number; data: string }): tlsa is Tlsa {
  const { usage, selector, matching, data } = tlsa;
  if ((usage !== 2 && usage !== 3) || (selector !== 0 && selector !== 1)) return false;
  return matching === 0 ? data !== '' : (matching === 1 || matching === 2) && data.length === HEX_DIGITS[matching];
}

function isOf({ selector, matching, data }: Tlsa, certificate: X509Certificate): boolean {
  const what = selector === 0 ? certificate.raw : certificate.publicKey.export({ type: 'spki', format: 'der' });
  const shown =
    matching === 0
      ? what
      : createHash(matching === 1 ? 'sha256' : 'sha512')
          .update(what)
          .digest();
  return shown.toString('hex') === data;
}

/** The leaf's signatures lead to a certificate of the record: one that was shown, or the record itself where it is whole. */
function isBelow(tlsa: Tlsa, [leaf, ...shown]: Peer['chain'], nowMs: number): boolean {
  const anchor = tlsa.selector === 0 && tlsa.matching === 0 ? certificateOf(tlsa.data) : undefined;
  const authorities = anchor ? [...shown, anchor] : shown;
  let below = leaf;
  for (let steps = 0; below && isInTime(below, nowMs) && steps <= authorities.length; steps++) {
    const issued = below;
    const above = authorities.find((one) => one.ca && issued.checkIssued(one) && issued.verify(one.publicKey));
    if (above && isOf(tlsa, above)) return isInTime(above, nowMs);
    below = above;
  }
  return false;
}

function isInTime({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean {
  return validFromDate.getTime() <= nowMs && nowMs <= validToDate.getTime();
}

function certificateOf(hex: string): X509Certificate | undefined {
  try {
    return new X509Certificate(Buffer.from(hex, 'hex'));
  } catch {
    return undefined;
  }
}
