/**
 * What hosts are shown after STARTTLS: the operator's certificate, or one made for the name that the host asks for.
 *
 * One for each worker. Contexts are kept, the least recently used makes room. All workers derive the keys of session
 * tickets from the same secret, so a session begun with one worker is resumed with another; the keys change twice a day,
 * and whoever comes with an older ticket shakes hands in full.
 */
import { createPublicKey, hkdfSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { commonNameOf, issueCertificate, newKey, toPem } from '../kit/x509.ts';
import { type Issuer, parseIssuer } from './issuer-file.ts';

/** 34 KiB each. */
const MAX_CONTEXTS = 500;
const TICKET_KEY_MS = 12 * 3_600_000;
const TICKET_KEY_BYTES = 48;
const NAME = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}$/;

export type HostTlsOptions = { readonly issuerPath: string; readonly clock: Clock; readonly log: Log };

/** Paths of PEM files, from the configuration. */
export type KeyPair = { readonly certificate: string; readonly key: string };
type Own = { readonly certificatePem: string; readonly keyPem: string; readonly endsMs: number };

export class HostTls {
  readonly #options: HostTlsOptions;
  readonly #key: KeyObject = newKey();
  readonly #publicKey = createPublicKey(this.#key);
  readonly #keyPem = this.#key.export({ type: 'pkcs8', format: 'pem' });
  readonly #contexts = new Map<string, SecureContext>();
  #ticketKeys: Buffer | undefined;
  #ticketsFrom = Number.NaN;
  #own: Own | undefined;
  #issuer: Issuer | undefined;
  #issuerSeen = '';
  readonly #waiting: (() => void)[] = [];
  /** times that a configured certificate could not be taken and the one before stayed */
  kept = 0;

  constructor(options: HostTlsOptions, operators?: KeyPair) {
    this.#options = options;
    if (operators) this.#own = readKeyPair(operators);
    this.refresh();
  }

  /** There is something to show. */
  get isReady(): boolean {
    return this.#own !== undefined || this.#issuer !== undefined;
  }

  /** When the operator's certificate ends. */
  get endsMs(): number | undefined {
    return this.#own?.endsMs;
  }

  /** The operator's certificate after a reload, read again; the one before stays when it cannot be taken. */
  configure(operators: KeyPair | undefined): void {
    try {
      this.#own = operators && readKeyPair(operators);
      this.#contexts.clear();
    } catch (error) {
      this.kept++;
      this.#options.log.write('error', 'tls.certificate-kept', { ...operators, error: (error as Error).message });
    }
  }

  /** Looks whether the keeper has made another issuer. Every few seconds. */
  refresh(): void {
    const { issuerPath, log } = this.#options;
    try {
      const { ino, mtimeMs } = statSync(issuerPath);
      const seen = `${ino} ${mtimeMs}`;
      if (seen === this.#issuerSeen) return;
      this.#issuerSeen = seen;
      this.#issuer = parseIssuer(readFileSync(issuerPath, 'utf8'));
      this.#contexts.clear();
      this.#ticketsFrom = Number.NaN;
    } catch (error) {
      // The keeper may not have made it yet. What was read before holds.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      log.write('error', 'tls.issuer-not-read', { path: issuerPath, error: String(error) });
    }
  }

  /**
   * Runs it when `contextOf(name)` costs nothing, or in a turn of the loop in which no other is made: making one takes half a
   * millisecond, and when many hosts come with new names at once, nobody else shall wait for all of them.
   */
  inTurn(name: string, run: () => void): void {
    if (this.#contexts.has(this.#own ? '' : name)) return run();
    if (this.#waiting.push(run) === 1) setImmediate(this.#next);
  }

  readonly #next = (): void => {
    try {
      this.#waiting[0]?.();
    } finally {
      // One that fails is not in the way of those behind it.
      this.#waiting.shift();
      if (this.#waiting.length > 0) setImmediate(this.#next);
    }
  };

  /** For a host that asks for no name: `address` is the server that it called. Only where `isReady`. */
  contextOf(address: string): SecureContext {
    const ticketKeys = this.#tickets();
    const name = this.#own ? '' : address;
    const known = this.#contexts.get(name);
    this.#contexts.delete(name);
    const context = known ?? this.#make(name, ticketKeys);
    this.#contexts.set(name, context);
    if (this.#contexts.size > MAX_CONTEXTS) this.#contexts.delete(this.#contexts.keys().next().value as string);
    return context;
  }

  /** For the name that it asks for, in its turn; undefined: there is nothing better than what is shown without one. */
  contextFor(name: string, give: (context: SecureContext | undefined) => void): void {
    const lower = name.toLowerCase();
    if (this.#own || !NAME.test(lower)) give(undefined);
    else this.inTurn(lower, () => give(this.#contextOrNone(lower)));
  }

  /** A name that no certificate can be made for is the host's affair: it is shown what it would be without one. */
  #contextOrNone(name: string): SecureContext | undefined {
    try {
      return this.contextOf(name);
    } catch (error) {
      this.#options.log.write('error', 'tls.not-issued', { error: String(error) });
      return undefined;
    }
  }

  #make(name: string, ticketKeys: Buffer): SecureContext {
    const { certificatePem, keyPem } = this.#own ?? { certificatePem: this.#chainFor(name), keyPem: this.#keyPem };
    // No client is asked for a certificate, so there is none to trust.
    const rest = { minVersion: 'TLSv1.2', sessionIdContext: 'postern', ticketKeys } as const;
    return createSecureContext({ cert: certificatePem, key: keyPem, ca: [], ...rest });
  }

  #chainFor(name: string): string {
    const { signer, certificatePem, notBeforeMs, notAfterMs } = this.#issuer as Issuer;
    const facts = { name: commonNameOf(name), names: [name], publicKey: this.#publicKey, notBeforeMs, notAfterMs };
    return toPem(issueCertificate({ ...facts, kind: 'server' }, signer)) + certificatePem;
  }

  #tickets(): Buffer {
    const from = Math.floor(this.#options.clock.nowMs() / TICKET_KEY_MS);
    if (this.#ticketKeys && from === this.#ticketsFrom) return this.#ticketKeys;
    this.#ticketsFrom = from;
    this.#contexts.clear();
    const secret = this.#issuer?.ticketSecret ?? randomBytes(32);
    this.#ticketKeys = Buffer.from(hkdfSync('sha256', secret, '', `postern tickets ${from}`, TICKET_KEY_BYTES));
    return this.#ticketKeys;
  }
}

function readKeyPair({ certificate, key }: KeyPair): Own {
  const [certificatePem, keyPem] = [readFileSync(certificate, 'utf8'), readFileSync(key, 'utf8')];
  // Throws where the two do not belong together.
  createSecureContext({ cert: certificatePem, key: keyPem, ca: [] });
  return { certificatePem, keyPem, endsMs: new X509Certificate(certificatePem).validToDate.getTime() };
}
