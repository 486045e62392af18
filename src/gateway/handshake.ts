/**
 * The TLS handshake of a host's leg: from its 220, which has to be out before, to the first octet inside, or to the end of
 * the connection. How each went is counted; one that fails is logged.
 */
import type { ByteSocket } from '../kit/tcp.ts';
import type { TlsCause, TlsFacts } from '../policy/tls.ts';
import { secureServer } from '../wire/starttls.ts';
import type { Rooms } from './rooms.ts';

export class Handshake {
  readonly #rooms: Rooms;
  readonly #sessionId: string;
  /** the 220 is said: `due` until it is out, `next` while others' certificates are made first, then since when it goes on */
  #state: 'none' | 'due' | 'next' | number = 'none';

  constructor(rooms: Rooms, sessionId: string) {
    this.#rooms = rooms;
    this.#sessionId = sessionId;
  }

  get isDue(): boolean {
    return this.#state === 'due' || this.#state === 'next';
  }

  get isUnderWay(): boolean {
    return typeof this.#state === 'number';
  }

  isLate(nowMs: number, timeoutMs: number): boolean {
    return typeof this.#state === 'number' && nowMs - this.#state > timeoutMs;
  }

  due(): void {
    this.#state = 'due';
  }

  /** Runs it once, at once or when it is its turn to have a certificate made. */
  inTurn(destination: string, run: () => void): void {
    if (this.#state !== 'due') return;
    this.#state = 'next';
    this.#rooms.tls.inTurn(this.#nameOf(destination), run);
  }

  /** The name that the server is known by, else its address. */
  #nameOf(destination: string): string {
    return this.#rooms.verifier?.nameOf(destination) ?? destination;
  }

  /** The socket to go on with. `failed` is called for TLS that breaks later, too. */
  begin(
    socket: ByteSocket,
    destination: string,
    on: { readonly secured: (facts: TlsFacts) => void; readonly failed: (cause: TlsCause, detail: string) => void },
  ): ByteSocket {
    const { tls, clock, counts } = this.#rooms;
    this.#state = clock.monotonicMs();
    return secureServer(socket, {
      context: tls.contextOf(this.#nameOf(destination)),
      contextFor: (name, give) => tls.contextFor(name, give),
      secured: (facts) => {
        this.#state = 'none';
        counts.handshake(facts.isResumed ? 'resumed' : 'done');
        on.secured(facts);
      },
      failed: on.failed,
    });
  }

  /** `isClosing`: we had ended the session meanwhile. False: it is long done, and TLS has failed later. */
  failed(cause: TlsCause, detail: string, isClosing: boolean): boolean {
    if (this.#state === 'none') return false;
    const { log, counts } = this.#rooms;
    counts.handshake(isClosing ? 'stopped' : cause);
    log.write('info', 'tls.handshake', { session: this.#sessionId, cause, detail });
    return true;
  }
}
