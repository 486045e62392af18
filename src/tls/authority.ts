/**
 * The authority behind the certificates that hosts are shown: the keeper's, made at its first start.
 *
 * Its key never leaves the keeper. What workers sign with is an issuing key that holds for 30 days and is replaced after
 * 15, or at once when the authority is rotated. Hosts with a clock that is up to a year behind ours still find all of it
 * valid: everything begins a year before it is made (docs/tls.md, "When the clock is wrong").
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { commonNameIn, issueCertificate, newKey, type Signer, toPem } from '../kit/x509.ts';
import { issuerText, parseIssuer } from './issuer-file.ts';

const DAY_MS = 86_400_000;
const BACKDATED_MS = 366 * DAY_MS;
const ROOT_MS = 3650 * DAY_MS;
const ISSUER_MS = 30 * DAY_MS;
const RENEWED_MS = 15 * DAY_MS;

export type AuthorityOptions = {
  /** in state_dir: key and certificate of the authority, the keeper's alone */
  readonly path: string;
  /** in run_dir, where workers read it */
  readonly issuerPath: string;
  readonly gatewayName: string;
  readonly clock: Clock;
  readonly log: Log;
};

type Root = { readonly signer: Signer; readonly pem: string; readonly certificate: X509Certificate };

export class Authority {
  readonly #options: AuthorityOptions;
  #root: Root | undefined;
  #issuerEndsMs: number | undefined;
  /** what was last logged, so that it is said once */
  #problem: string | undefined;

  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.tend();
  }

  /** The certificate in PEM; undefined while it can be neither read nor made: the log says why. */
  get certificatePem(): string | undefined {
    return this.#root?.pem;
  }

  /** When each of our own ends; undefined where there is none. */
  get endsMs(): { readonly authority: number | undefined; readonly issuer: number | undefined } {
    return { authority: this.#root?.certificate.validToDate.getTime(), issuer: this.#issuerEndsMs };
  }

  /** Makes what is not there yet or soon over. At the start, and each minute. */
  tend(): void {
    try {
      this.#root ??= this.#load() ?? this.#make();
      if (!this.#holdsIssuer(this.#root)) this.#issue(this.#root);
      this.#say(this.#lapsed(this.#root));
    } catch (error) {
      this.#say(String(error));
    }
  }

  /** Another authority from now on. Whoever trusts the one before has to be given this one. Throws when it cannot be kept. */
  rotate(who: string): string {
    const root = this.#make();
    this.#root = root;
    this.#issue(root);
    this.#options.log.write('warn', 'ca.rotated', { who, fingerprint: root.certificate.fingerprint256 });
    return root.pem;
  }

  #load(): Root | undefined {
    const { path, clock, log } = this.#options;
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const certificate = new X509Certificate(text);
      const key = createPrivateKey(text);
      if (!certificate.checkPrivateKey(key)) throw new Error('its key belongs to another certificate');
      return rootOf(certificate, key);
    } catch (error) {
      const kept = `${path}.damaged-${clock.nowMs()}`;
      renameSync(path, kept);
      const effect = 'another authority is made; whoever trusts the one before has to be given it: postern ca';
      log.write('error', 'ca.damaged', { path, error: String(error), kept, effect });
      return undefined;
    }
  }

  #make(): Root {
    const { path, gatewayName, clock, log } = this.#options;
    const key = newKey();
    // Two authorities of one name would be taken for one another.
    const name = `Postern CA ${randomBytes(4).toString('hex')} of ${gatewayName}`.slice(0, 64);
    const der = issueCertificate(
      { name, publicKey: createPublicKey(key), kind: 'root', ...this.#from(ROOT_MS) },
      { name, key },
    );
    writeAtomically(path, `${toPem(der)}${key.export({ type: 'pkcs8', format: 'pem' })}`, 0o600);
    const root = rootOf(new X509Certificate(der), key);
    log.write('info', 'ca.made', { path, name, at: clock.nowMs(), fingerprint: root.certificate.fingerprint256 });
    return root;
  }

  #issue({ signer }: Root): void {
    const { issuerPath } = this.#options;
    const key = newKey();
    const facts = {
      name: `Postern issuer ${randomBytes(4).toString('hex')}`,
      publicKey: createPublicKey(key),
      kind: 'issuer',
      ...this.#from(ISSUER_MS),
    } as const;
    mkdirSync(dirname(issuerPath), { recursive: true, mode: 0o750 });
    writeAtomically(issuerPath, issuerText(key, issueCertificate(facts, signer)), 0o640);
    this.#issuerEndsMs = facts.notAfterMs;
  }

  /** What workers have is of this authority and lasts; a clock that has jumped makes it be made again. */
  #holdsIssuer({ certificate }: Root): boolean {
    const nowMs = this.#options.clock.nowMs();
    try {
      const { certificatePem, notAfterMs } = parseIssuer(readFileSync(this.#options.issuerPath, 'utf8'));
      const isOurs = new X509Certificate(certificatePem).checkIssued(certificate);
      this.#issuerEndsMs = notAfterMs;
      return isOurs && notAfterMs - nowMs > RENEWED_MS && notAfterMs - nowMs <= ISSUER_MS;
    } catch {
      return false;
    }
  }

  #from(lengthMs: number): { notBeforeMs: number; notAfterMs: number } {
    // Certificates know no part of a second.
    const nowMs = Math.floor(this.#options.clock.nowMs() / 1000) * 1000;
    return { notBeforeMs: nowMs - BACKDATED_MS, notAfterMs: nowMs + lengthMs };
  }

  /** By our clock. It is not replaced by itself: the clock may be wrong, and there are those who trust it. */
  #lapsed({ certificate }: Root): string | undefined {
    const nowMs = this.#options.clock.nowMs();
    const [from, to] = [certificate.validFromDate, certificate.validToDate];
    if (nowMs >= from.getTime() && nowMs <= to.getTime()) return undefined;
    return `it is valid from ${from.toISOString()} to ${to.toISOString()}: the clock is wrong, or: postern ca --rotate`;
  }

  #say(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#problem)
      this.#options.log.write('error', 'ca.problem', { path: this.#options.path, problem });
    this.#problem = problem;
  }
}

function rootOf(certificate: X509Certificate, key: KeyObject): Root {
  return { signer: { name: commonNameIn(certificate), key }, pem: toPem(certificate.raw), certificate };
}
