/** What a server has shown in its TLS handshake. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

export type Peer = {
  /** its own certificate first, then those that lead to an authority, as far as it has shown them */
  readonly chain: readonly X509Certificate[];
  /** why the chain does not lead to a trusted authority, in OpenSSL's word; undefined when it does. Names are not looked at */
  readonly problem: string | undefined;
};

const MAX_CHAIN = 10;

export function peerOf(socket: TLSSocket): Peer {
  const chain: X509Certificate[] = [];
  for (let one = socket.getPeerX509Certificate(); one && chain.length < MAX_CHAIN; one = one.issuerCertificate) {
    const shown = one;
    if (chain.some(({ raw }) => raw.equals(shown.raw))) break;
    chain.push(shown);
  }
  const problem = socket.authorized ? undefined : String(socket.authorizationError);
  return { chain, problem };
}
