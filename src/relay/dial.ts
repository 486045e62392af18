/**
 * From a configured server to a connection that takes MAIL: connect, banner, EHLO or HELO, STARTTLS, AUTH.
 *
 * One deadline for all of it. After STARTTLS everything is new: parser, EHLO, capabilities (RFC 3207 section 4.2).
 * Never in clear where TLS was asked for, and no password but over a certificate that was checked.
 */
import type { Endpoint } from '../config/value/net.ts';
import { connectTcp } from '../kit/tcp-open.ts';
import type { Class } from '../policy/classes.ts';
import { noCapabilities, parseCapabilities } from '../smtp/capabilities.ts';
import { oneLine, textLines } from '../smtp/far-reply.ts';
import { authenticate, type Credentials } from './auth.ts';
import { startTls } from './start-tls.ts';
import { type Answer, type Step, Upstream } from './upstream.ts';

export type DialOptions = {
  /** our name in EHLO */
  readonly name: string;
  /** `encrypt`: TLS or nothing, whatever the certificate */
  readonly tls: 'verify' | 'encrypt' | 'opportunistic' | 'none';
  /** PEM; undefined is the system's */
  readonly ca: Buffer | undefined;
  readonly credentials: Credentials | undefined;
  readonly timeoutMs: number;
  /** ends the dial before its time */
  readonly signal?: AbortSignal;
};

export type DialFailure = {
  readonly kind: 'failure';
  readonly class: Class;
  readonly detail: string;
  /** it answered, with a "not now": it may be that it has enough connections of ours */
  readonly isBusy?: boolean;
};
export type Dialled = { readonly kind: 'connected'; readonly upstream: Upstream } | DialFailure;

/** Dials one server. Resolves in `timeoutMs` at the latest; the socket of a failure is closed. */
export function dial(server: Endpoint, options: DialOptions): Promise<Dialled> {
  return new Dial(server, options).run();
}

class Dial {
  readonly #server: Endpoint;
  readonly #options: DialOptions;
  #upstream: Upstream | undefined;
  /** closes what is there, also while the connection or the TLS handshake is under way */
  #abort: () => void = () => {};
  #failure: DialFailure | undefined;

  constructor(server: Endpoint, options: DialOptions) {
    this.#server = server;
    this.#options = options;
  }

  run(): Promise<Dialled> {
    const { timeoutMs, signal } = this.#options;
    return new Promise((resolve) => {
      const end = (of: Class, detail: string): void => {
        this.#fail(of, detail);
        this.#abort();
        resolve(this.#failure as DialFailure);
      };
      const timer = setTimeout(() => end('upstream.timeout', `not ready within ${timeoutMs} ms`), timeoutMs);
      const onAbort = (): void => end('upstream.lost', 'given up');
      signal?.addEventListener('abort', onAbort, { once: true });
      void this.#steps().then((upstream) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        if (upstream && !this.#failure) return resolve({ kind: 'connected', upstream });
        this.#abort();
        resolve(this.#failure ?? failure('upstream.lost', 'the connection ended'));
      });
    });
  }

  /** The first failure counts. */
  #fail(of: Class, detail: string, isBusy = false): undefined {
    this.#failure ??= { ...failure(of, detail), isBusy };
    return undefined;
  }

  async #steps(): Promise<Upstream | undefined> {
    if (!(await this.#connect())) return undefined;
    const banner = await this.#answer('banner');
    if (!this.#isGood(banner, 'banner')) return undefined;
    const keywords = await this.#hello(true);
    if (!keywords) return undefined;
    const secured = this.#options.tls === 'none' ? keywords : await this.#secure(keywords);
    if (!secured) return undefined;
    if (this.#options.credentials && !(await this.#authenticate(secured))) return undefined;
    const upstream = this.#upstream as Upstream;
    // Inside TLS it is not offered again; what counts from here on is whether the connection has it.
    upstream.capabilities = { ...upstream.capabilities, startTls: upstream.tlsVersion !== undefined };
    return upstream;
  }

  async #connect(): Promise<boolean> {
    const abort = new AbortController();
    this.#abort = () => abort.abort();
    try {
      this.#adopt(new Upstream(await connectTcp(this.#server.host, this.#server.port, abort.signal)));
      return true;
    } catch (error) {
      this.#fail('upstream.down', (error as Error).message);
      return false;
    }
  }

  #adopt(upstream: Upstream): void {
    this.#upstream = upstream;
    this.#abort = () => upstream.poison('upstream.lost', 'given up while dialling');
  }

  /** EHLO, or HELO where EHLO is not known (RFC 5321 section 3.2): the keyword lines, none for HELO. */
  async #hello(helo: boolean): Promise<readonly string[] | undefined> {
    const upstream = this.#upstream as Upstream;
    const { name } = this.#options;
    const ehlo = await this.#command(`EHLO ${name}`, 'ehlo');
    if (ehlo.kind === 'reply' && ehlo.code >= 500 && helo) {
      const answer = await this.#command(`HELO ${name}`, 'helo');
      if (!this.#isGood(answer, 'HELO')) return undefined;
      upstream.capabilities = noCapabilities;
      return [];
    }
    if (!this.#isGood(ehlo, 'EHLO') || ehlo.kind !== 'reply') return undefined;
    const keywords = textLines(ehlo).slice(1);
    upstream.capabilities = parseCapabilities(keywords);
    return keywords;
  }

  /** STARTTLS and a second EHLO; the keywords that count from here on. */
  async #secure(keywords: readonly string[]): Promise<readonly string[] | undefined> {
    const clear = this.#upstream as Upstream;
    const { tls } = this.#options;
    if (!clear.capabilities.startTls)
      return tls === 'opportunistic' ? keywords : this.#fail('upstream.tls', 'offers no STARTTLS');
    const answer = await this.#command('STARTTLS', 'starttls');
    if (answer.kind === 'fault') return this.#fail(answer.class, `STARTTLS: ${answer.detail}`);
    // Offered and then refused: going on in clear would be a downgrade that nobody asked for, also when opportunistic.
    if (answer.code !== 220) return this.#fail('upstream.tls', `STARTTLS: ${oneLine(answer)}`);
    const { host, isAddress } = this.#server;
    const secured = await startTls(
      clear,
      { host, isAddress, mustVerify: tls === 'verify', ca: this.#options.ca },
      (abort) => (this.#abort = abort),
    );
    if (!(secured instanceof Upstream)) return this.#fail(secured.class, secured.detail);
    this.#adopt(secured);
    return this.#hello(false);
  }

  async #authenticate(keywords: readonly string[]): Promise<boolean> {
    const upstream = this.#upstream as Upstream;
    if (!upstream.isVerified) {
      this.#fail('upstream.auth', 'a password is configured, but it is sent over verified TLS only');
      return false;
    }
    const refused = await authenticate(this.#options.credentials as Credentials, keywords, (line) =>
      this.#command(line, 'auth'),
    );
    if (refused === undefined) return true;
    this.#fail(refused.class, refused.detail);
    return false;
  }

  #answer(step: Step): Promise<Answer> {
    return (this.#upstream as Upstream).expect(step, this.#options.timeoutMs);
  }

  #command(line: string, step: Step): Promise<Answer> {
    const [answer] = (this.#upstream as Upstream).exchange(
      Buffer.from(`${line}\r\n`, 'latin1'),
      [step],
      this.#options.timeoutMs,
    );
    return answer as Promise<Answer>;
  }

  #isGood(answer: Answer, what: string): boolean {
    if (answer.kind === 'fault') this.#fail(answer.class, `${what}: ${answer.detail}`, answer.code === 421);
    else if (answer.code >= 400) this.#fail('upstream.down', `${what}: ${oneLine(answer)}`, answer.code < 500);
    else return true;
    return false;
  }
}

function failure(of: Class, detail: string): DialFailure {
  return { kind: 'failure', class: of, detail };
}
