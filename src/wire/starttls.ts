/**
 * The host's leg becomes TLS. Node's TLS takes over the descriptor, or in tests a stream.
 *
 * Whatever is wrong ends in one call of `failed`, after which the socket is closed; a renegotiation is an end as well.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type SecureContext, TLSSocket } from 'node:tls';
import { type ByteSocket, TcpSocket } from '../kit/tcp.ts';
import type { TlsCause, TlsFacts } from '../policy/tls.ts';

export type ServerTls = {
  /** for a host that asks for no name */
  readonly context: SecureContext;
  readonly contextFor: (name: string, give: (context: SecureContext | undefined) => void) => void;
  readonly secured: (facts: TlsFacts) => void;
  readonly failed: (cause: TlsCause, detail: string) => void;
};

/** To be called when nothing waits to be written to `socket`, and after it is no longer listened to. */
export function secureServer(socket: ByteSocket, tls: ServerTls): TLSSocket {
  // A host that has sent its last word may still read.
  const below =
    socket instanceof TcpSocket
      ? new Socket({ fd: socket.release(), allowHalfOpen: true })
      : (socket as Duplex & Socket);
  if (socket instanceof TcpSocket) below.setNoDelay();
  // The socket above tells.
  below.on('error', () => {});
  const secure = new TLSSocket(below, {
    isServer: true,
    secureContext: tls.context,
    SNICallback: (name, choose) => {
      tls.contextFor(name, (context) => choose(null, context ?? tls.context));
    },
  });
  secure.disableRenegotiation();
  let isOver = false;
  const fail = (cause: TlsCause, detail: string): void => {
    if (isOver) return;
    isOver = true;
    tls.failed(cause === 'closed' && hasShown(secure) ? 'left' : cause, detail);
    secure.destroy();
    below.destroy();
  };
  const onError = (error: NodeJS.ErrnoException): void => fail(causeOf(error.code ?? ''), error.message);
  const onGone = (): void => fail('closed', 'closed in the middle of the handshake');
  // Node keeps errors of a handshake, and of a renegotiation, from 'error' where no tls.Server is involved.
  secure.on('_tlsError', onError);
  secure.on('error', onError);
  secure.on('end', onGone);
  secure.on('close', onGone);
  // Without a reader there is no 'end'; nothing of the host's comes through before the handshake is done.
  secure.once('secure', () => {
    secure.off('error', onError);
    secure.off('end', onGone);
    secure.off('close', onGone);
    if (isOver) return;
    const { servername } = secure as TLSSocket & { readonly servername?: string | false | null };
    tls.secured({
      version: secure.getProtocol() ?? 'unknown',
      cipher: secure.getCipher().name,
      name: servername || undefined,
      isResumed: secure.isSessionReused(),
    });
  });
  return secure;
}

/** The host has said its hello, so our certificate is on its way to it. */
function hasShown(secure: TLSSocket): boolean {
  try {
    return secure.getSharedSigalgs().length > 0;
  } catch {
    // the handle is closed already
    return false;
  }
}

/** From the code of an error of OpenSSL's or of a socket. */
function causeOf(code: string): TlsCause {
  if (/ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)/.test(code))
    return 'certificate';
  if (/UNSUPPORTED_PROTOCOL|NO_SHARED_CIPHER|VERSION_TOO_LOW|NO_SUITABLE/.test(code)) return 'version';
  if (code === 'ERR_TLS_RENEGOTIATION_DISABLED') return 'renegotiation';
  if (code.includes('ALERT')) return 'alert';
  return /^(?:ECONNRESET|EPIPE|ERR_STREAM_PREMATURE_CLOSE)$/.test(code) ? 'closed' : 'not-tls';
}
