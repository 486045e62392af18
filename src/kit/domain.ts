/** Domains of mail, one spelling for each. */
import { domainToASCII } from 'node:url';

/**
 * Lower case, and in its ASCII form where it has octets above 127 (one character for each octet of UTF-8, as it came over
 * the wire). What is no domain stays as it is.
 */
export function canonicalDomain(wire: string): string {
  const lower = wire.toLowerCase();
  if (!/[\x80-\xff]/.test(lower)) return lower;
  return domainToASCII(Buffer.from(wire, 'latin1').toString('utf8')) || lower;
}

/** A host name of a text as it is looked up: lower case, ASCII, without a final dot. Empty when it is none. */
export function hostNameOf(text: string): string {
  const name = /[^\x21-\x7e]/.test(text) ? domainToASCII(text) : text.toLowerCase();
  return name.replace(/\.$/, '');
}
