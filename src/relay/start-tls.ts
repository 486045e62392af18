/**
 * From a 220 to STARTTLS to an upstream inside TLS. TLS is Node's: it takes over the descriptor.
 */
import { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { TcpSocket } from '../kit/tcp.ts';
import { Upstream } from './upstream.ts';

export type TlsPeer = {
  /** name or address; the certificate is checked against it */
  readonly host: string;
  readonly isAddress: boolean;
  /** end the handshake over a certificate that does not check out */
  readonly mustVerify: boolean;
  /** PEM; undefined is the system's */
  readonly ca: Buffer | undefined;
  /** what it is authorised for is looked at later: its chain alone counts now */
  readonly isNameOpen?: boolean;
};

export type TlsFailure = { readonly class: 'upstream.tls' | 'upstream.garbage'; readonly detail: string };

/** Resolves when the handshake has ended; it has no deadline of its own: `onAbort` is given what cuts it off. */
export function startTls(
  clear: Upstream,
  { host, isAddress, mustVerify, ca, isNameOpen }: TlsPeer,
  onAbort: (abort: () => void) => void,
): Promise<Upstream | TlsFailure> {
  const released = clear.release();
  if (!released) return Promise.resolve({ class: 'upstream.garbage', detail: 'bytes in clear after STARTTLS' });
  const socket =
    released instanceof TcpSocket ? new Socket({ fd: released.release() }).setNoDelay() : (released as Socket);
  const options: ConnectionOptions = {
    socket,
    // Node checks the certificate against `servername`, or `host` where that is empty: addresses have no SNI (RFC 6066 section 3).
    host,
    ...(isAddress ? {} : { servername: host }),
    rejectUnauthorized: mustVerify,
    minVersion: 'TLSv1.2',
    ...(ca && { ca }),
    ...(isNameOpen && { checkServerIdentity: () => undefined }),
  };
  const secure = connectTls(options);
  onAbort(() => {
    secure.destroy();
    socket.destroy();
  });
  return new Promise((resolve) => {
    const onError = (error: Error): void => resolve({ class: 'upstream.tls', detail: error.message });
    const onClose = (): void => resolve({ class: 'upstream.tls', detail: 'closed during the TLS handshake' });
    secure.on('error', onError);
    secure.on('close', onClose);
    secure.once('secureConnect', () => {
      secure.off('error', onError);
      secure.off('close', onClose);
      const upstream = new Upstream(secure);
      upstream.isVerified = secure.authorized;
      resolve(upstream);
    });
  });
}
