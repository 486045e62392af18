/** struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)) from and to the canonical spelling of addresses. */
import { canonicalOf, type Family, parseAddress } from './address.ts';
import { AF_INET } from './libc.ts';

export const SOCKADDR_BYTES = 28;

const BYTES = { 4: 16, 6: 28 } as const;

/** Throws when the text is no address of that family. */
export function toSockaddr(family: Family, address: string, port: number): Buffer {
  const parsed = parseAddress(address);
  if (parsed?.family !== family) throw new TypeError(`${address} is no IPv${family} address`);
  const bytes = Buffer.alloc(BYTES[family]);
  bytes.writeUInt16LE(AF_INET[family], 0);
  bytes.writeUInt16BE(port, 2);
  const [at, width] = family === 4 ? [4, 4] : [8, 16];
  bytes.write(parsed.value.toString(16).padStart(width * 2, '0'), at, 'hex');
  return bytes;
}

export type End = { readonly address: string; readonly port: number };

/** `192.0.2.1:25`, `[2001:db8::1]:25` */
export function endText({ address, port }: End): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** What the kernel has written; undefined for another family. The address is spelled canonically. */
export function fromSockaddr(bytes: Buffer): End | undefined {
  const family = bytes[0];
  const port = ((bytes[2] as number) << 8) | (bytes[3] as number);
  if (family === AF_INET[4]) return { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port };
  if (family !== AF_INET[6]) return undefined;
  return { address: canonicalOf(bytes.subarray(8, 24)), port };
}
