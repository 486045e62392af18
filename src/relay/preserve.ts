/**
 * The egress `preserve`: one connection for one session, from the host's own address to the server that the host called.
 *
 * The server answers the host's commands itself, in their order. What it must not see before the filters have looked, the
 * message, is ours to begin; and where it offers STARTTLS, TLS is used before the host hears of its EHLO. There is no
 * other route and no second try: whatever fails here is the host's to retry.
 */
import type { Config } from '../config/schema.ts';
import { type End, endText } from '../kit/sockaddr.ts';
import { OWN_MARK_BITS } from '../kit/own-mark.ts';
import type { ByteSocket } from '../kit/tcp.ts';
import { connectFrom } from '../kit/tcp-open.ts';
import type { Class } from '../policy/classes.ts';
import {
  type Capabilities,
  carriedLines,
  isStartTls,
  noCapabilities,
  parseCapabilities,
} from '../smtp/capabilities.ts';
import { oneLine, textLines } from '../smtp/far-reply.ts';
import { type FarConnection, PreservedTransaction } from './preserved-transaction.ts';
import type { AnsweredTransaction, Counters, FarHello, FarReply, FarSession, MailFrom } from './relay.ts';
import { sendMsFor } from './smarthost.ts';
import { startTls } from './start-tls.ts';
import type { Verifier } from './verifier.ts';
import { type Answer, type Fault, LINE_BREAK, type Step, Upstream } from './upstream.ts';

export type PreserveOptions = {
  /** to the server; rejects with `signal`'s reason when that is aborted */
  readonly connect: (signal: AbortSignal) => Promise<ByteSocket>;
  readonly connectMs: number;
  readonly maxSizeBytes: number;
  /** it had TLS not long ago */
  readonly hadTls: boolean;
  /** the name that the server is known by, if it is */
  readonly name: string | undefined;
  /** PEM; undefined is the system's */
  readonly ca: Buffer | undefined;
} & FarConnection['options'];

const QUIT = 'QUIT';
const STARTTLS = 'STARTTLS';
/** RFC 6066 section 3: no address, no final dot. */
const HOST_NAME = /^(?=.{4,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/i;
const LAST_FIN_MS = 1000;

/** The connection that one session has, from `source` to the server `to`. */
export function createPreserved(
  source: string,
  to: End,
  { preserve, limits }: Config,
  counters: Counters,
  known: { readonly verifier?: Verifier | undefined; readonly hadTls: boolean } = { hadTls: false },
  connect: PreserveOptions['connect'] = (signal) => connectFrom(source, OWN_MARK_BITS, to, signal),
): FarSession {
  return new PreservedSession(to, {
    connect,
    hadTls: known.hadTls,
    name: known.verifier?.nameOf(to.address),
    ca: known.verifier?.ca,
    connectMs: preserve.connectTimeout,
    replyMs: preserve.replyTimeout,
    sendMs: sendMsFor(preserve.finalTimeout),
    finalMs: preserve.finalTimeout,
    maxSizeBytes: limits.messageSize,
    counters,
  });
}

type Asked = { readonly line: string; readonly step: Step; readonly resolve: (answer: Answer) => void };

export class PreservedSession implements FarSession, FarConnection {
  readonly options: PreserveOptions;
  /** the server, as records name it */
  readonly server: string;
  readonly #to: End;
  readonly #abort = new AbortController();
  #upstream: Upstream | undefined;
  #isOver = false;
  #onLost: ((last: FarReply) => void) | undefined;
  #asked: Asked[] = [];
  #isAsking = false;
  #hasQuit = false;
  /** where STARTTLS stood among the lines that are carried; 0: nowhere */
  #startTlsAt = 0;
  /** it has been asked, and offers no TLS */
  #isPlain = false;
  readonly #closed = Promise.withResolvers<void>();

  constructor(to: End, options: PreserveOptions) {
    this.options = options;
    this.#to = to;
    this.server = endText(to);
  }

  get upstream(): Upstream | undefined {
    return this.#upstream;
  }

  async open(): Promise<FarReply> {
    const timer = setTimeout(() => this.#abort.abort(new Error('no answer in time')), this.options.connectMs);
    try {
      this.#adopt(new Upstream(await this.options.connect(this.#abort.signal)));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isLate = code === 'ETIMEDOUT' || (this.#abort.signal.aborted && !this.#isOver);
      return this.failure(isLate ? 'upstream.timeout' : code === 'EPERM' ? 'error.internal' : 'upstream.down', message);
    } finally {
      clearTimeout(timer);
    }
    return this.passOn(await (this.#upstream as Upstream).expect('banner', this.options.connectMs));
  }

  async hello(verb: 'EHLO' | 'HELO', name: string): Promise<FarHello> {
    if (verb === 'HELO') {
      const failed = await this.#upgrade(name);
      if (failed) return { reply: failed };
    }
    const line = `${verb} ${name}`;
    let answer = await this.ask(line, verb === 'EHLO' ? 'ehlo' : 'helo');
    const upstream = this.#upstream;
    if (answer.kind === 'fault' || answer.code >= 400 || !upstream || verb === 'HELO') {
      if (answer.kind === 'reply' && answer.code < 400 && upstream) upstream.capabilities = noCapabilities;
      return { reply: this.passOn(answer) };
    }
    const clear = textLines(answer);
    if (upstream.tlsVersion === undefined && parseCapabilities(clear.slice(1)).startTls) {
      const carried = carriedLines(clear, this.options.maxSizeBytes, STARTTLS);
      this.#startTlsAt = carried.findIndex(isStartTls);
      const failed = await this.#secure(upstream, clear);
      if (failed) return { reply: failed };
      answer = await this.ask(line, 'ehlo');
      if (answer.kind === 'fault' || answer.code >= 400) return { reply: this.passOn(answer) };
    } else if (upstream.tlsVersion === undefined && this.options.hadTls) return { reply: this.#noLonger() };
    return this.#carried(answer);
  }

  /** A host that says HELO knows of no TLS; its server may, and then its mail goes on over TLS all the same. */
  async #upgrade(name: string): Promise<FarReply | undefined> {
    const upstream = this.#upstream;
    if (!upstream || upstream.tlsVersion !== undefined || this.#isPlain) return undefined;
    const answer = await this.ask(`EHLO ${name}`, 'ehlo');
    if (answer.kind === 'fault') return this.passOn(answer);
    const lines = textLines(answer);
    this.#isPlain = answer.code >= 400 || !parseCapabilities(lines.slice(1)).startTls;
    if (!this.#isPlain) return await this.#secure(upstream, lines);
    return this.options.hadTls ? this.#noLonger() : undefined;
  }

  /** Somebody between may have taken its offer away. */
  #noLonger(): FarReply {
    return this.#noTls('upstream.tls', 'offers no STARTTLS, which it did not long ago');
  }

  #carried(answer: Answer & { kind: 'reply' }): FarHello {
    const lines = textLines(answer);
    const { maxSizeBytes } = this.options;
    const upstream = this.#upstream as Upstream;
    const far = parseCapabilities(lines.slice(1));
    upstream.capabilities = far;
    const capabilities: Capabilities = {
      ...far,
      size: far.size === undefined ? undefined : Math.min(far.size === 0 ? maxSizeBytes : far.size, maxSizeBytes),
      startTls: upstream.tlsVersion !== undefined,
      chunking: false,
    };
    const carried = carriedLines(lines, maxSizeBytes);
    // Inside TLS no server offers it; a host that is not gets it in the place where it stood.
    if (this.#startTlsAt > 0) carried.splice(this.#startTlsAt, 0, STARTTLS);
    return { reply: this.passOn(answer), offer: { capabilities, lines: carried } };
  }

  /** STARTTLS before the host hears of the EHLO. Refused or failed after it was offered: never in clear instead. */
  async #secure(clear: Upstream, [greeting = '']: readonly string[]): Promise<FarReply | undefined> {
    const answer = await this.ask(STARTTLS, 'starttls');
    if (answer.kind === 'fault') return this.passOn(answer);
    if (answer.code !== 220) return this.#noTls('upstream.tls', `STARTTLS: ${oneLine(answer)}`);
    let cutOff = (): void => {};
    const timer = setTimeout(() => cutOff(), this.options.connectMs);
    const { ca } = this.options;
    // Which certificate it shows may depend on the name (RFC 7672 section 8.1): the one it is known by, else what it calls itself.
    const name = this.options.name ?? HOST_NAME.exec(greeting.split(' ')[0] ?? '')?.[0];
    const host = name ?? this.#to.address;
    const peer = { host, isAddress: name === undefined, mustVerify: false, ca, isNameOpen: true };
    const secured = await startTls(clear, peer, (abort) => {
      cutOff = abort;
      this.#abort.signal.addEventListener('abort', abort, { once: true });
    });
    clearTimeout(timer);
    if (!(secured instanceof Upstream)) {
      cutOff();
      return this.#noTls(secured.class, secured.detail);
    }
    this.#adopt(secured);
    return undefined;
  }

  #noTls(of: Class, detail: string): FarReply {
    this.#upstream?.poison('upstream.lost', detail);
    // One that was given to TLS does not tell of its end.
    this.#closed.resolve();
    return this.failure(of, detail);
  }

  async say(line: string): Promise<FarReply> {
    if (line === QUIT) this.#hasQuit = true;
    return this.passOn(await this.ask(line, line === 'RSET' ? 'rset' : 'other'));
  }

  begin(from: MailFrom): AnsweredTransaction {
    return new PreservedTransaction(this, from);
  }

  hold(isHeld: boolean): void {
    this.#upstream?.hold(isHeld);
  }

  whenLost(run: (last: FarReply) => void): void {
    this.#onLost = run;
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#abort.abort(new Error('given up'));
    // The one that closes first keeps the port in TIME-WAIT: after QUIT that is the server (RFC 5321 section 4.1.1.10).
    if (!this.#hasQuit) this.#cutOff();
    const timer = setTimeout(() => this.#cutOff(), LAST_FIN_MS);
    if (this.#upstream) await this.#closed.promise;
    clearTimeout(timer);
  }

  #cutOff(): void {
    this.#upstream?.poison('upstream.lost', 'the session is over');
  }

  /**
   * The answer to one command. Those of one turn of the loop leave in one write where the server offers PIPELINING;
   * otherwise each waits for the answer before it. Rejects a line that would be two.
   */
  async ask(line: string, step: Step): Promise<Answer> {
    if (LINE_BREAK.test(line)) throw new Error(`a line break in ${step}`);
    return await new Promise((resolve) => {
      this.#asked.push({ line, step, resolve });
      if (!this.#isAsking) {
        this.#isAsking = true;
        queueMicrotask(() => this.#send());
      }
    });
  }

  #send(): void {
    const upstream = this.#upstream as Upstream;
    const group = this.#asked.splice(0, upstream.capabilities.pipelining ? this.#asked.length : 1);
    if (group.length === 0) {
      this.#isAsking = false;
      return;
    }
    // Latin 1 is one byte for each character: the octets of the host's own command.
    const bytes = Buffer.from(group.map(({ line }) => `${line}\r\n`).join(''), 'latin1');
    const answers = upstream.exchange(
      bytes,
      group.map(({ step }) => step),
      this.options.replyMs,
    );
    for (const [i, answer] of answers.entries()) void answer.then((group[i] as Asked).resolve);
    if (upstream.capabilities.pipelining) this.#isAsking = false;
    else void answers[0]?.then(() => this.#send());
  }

  passOn(answer: Answer): FarReply {
    if (answer.kind === 'fault') return this.#ofFault(answer);
    return this.#reply(answer.code, answer.bytes);
  }

  failure(of: Class, detail: string, { code, step }: Partial<Fault> = {}): FarReply {
    return {
      kind: 'failure',
      class: of,
      detail,
      server: this.server,
      tlsVersion: this.#upstream?.tlsVersion,
      ...(code !== undefined && { code }),
      ...(step !== undefined && { step }),
    };
  }

  #reply(code: number, bytes: Buffer): FarReply {
    return { kind: 'reply', code, bytes, server: this.server, tlsVersion: this.#upstream?.tlsVersion };
  }

  /** A 421 that the server said is its last word to the host. */
  #ofFault(fault: Fault): FarReply {
    if (fault.code === 421 && fault.bytes) return this.#reply(421, fault.bytes);
    return this.failure(fault.class, fault.detail, fault);
  }

  #adopt(upstream: Upstream): void {
    this.#upstream = upstream;
    upstream.whenGone(() => {
      if (this.#upstream !== upstream) return;
      this.#closed.resolve();
      if (this.#isOver) return;
      this.#isOver = true;
      // What the host is told then is the answer to its QUIT.
      if (this.#hasQuit) return;
      this.options.counters.faults++;
      const fault: Fault = upstream.fault ?? {
        kind: 'fault',
        class: 'upstream.lost',
        detail: 'the connection is closed',
      };
      this.#onLost?.(this.#ofFault(fault));
    });
    // The host has gone in the turn in which this connection stood.
    if (this.#isOver) this.#cutOff();
  }
}
