/** One mail transaction with the server that the host called, whose answers are the host's. */
import type { Class } from '../policy/classes.ts';
import type { SpooledBody } from '../wire/spool.ts';
import { DOTTED, pieces } from './frame.ts';
import type { Peer } from './peer.ts';
import type { AnsweredTransaction, Counters, FarReply, MailFrom, Recipient } from './relay.ts';
import type { Answer, Step, Upstream } from './upstream.ts';

/** The session's one connection, as its transactions see it. */
export interface FarConnection {
  readonly options: {
    readonly replyMs: number;
    /** from the end of the body to our final dot */
    readonly sendMs: number;
    readonly finalMs: number;
    readonly counters: Counters;
  };
  readonly upstream: Upstream | undefined;
  ask(line: string, step: Step): Promise<Answer>;
  passOn(answer: Answer): FarReply;
  failure(of: Class, detail: string): FarReply;
}

export class PreservedTransaction implements AnsweredTransaction {
  readonly #far: FarConnection;
  readonly #from: MailFrom;
  /** `body`: the host has been told 354, the server knows of nothing yet; when nothing is sent, RSET is ours to say */
  #state: 'envelope' | 'body' | 'sending' | 'over' = 'envelope';
  #wasAbandoned = false;

  constructor(far: FarConnection, from: MailFrom) {
    this.#far = far;
    this.#from = from;
  }

  get isEncrypted(): boolean {
    return this.#far.upstream?.tlsVersion !== undefined;
  }

  get peer(): Peer | undefined {
    return this.#far.upstream?.peer;
  }

  async mail(): Promise<FarReply> {
    return this.#far.passOn(await this.#far.ask(`MAIL FROM:${this.#from.path}${this.#from.parameters}`, 'mail'));
  }

  async recipient({ path, parameters }: Recipient): Promise<FarReply> {
    return this.#far.passOn(await this.#far.ask(`RCPT TO:${path}${parameters}`, 'rcpt'));
  }

  bodyBegins(): void {
    this.#state = 'body';
  }

  async send(trace: Buffer, body: SpooledBody): Promise<FarReply> {
    if (this.#wasAbandoned) return this.#failure('session.gone', 'the message was given up');
    if (this.#state !== 'body') return this.#failure('error.internal', 'sent twice');
    this.#state = 'sending';
    const { sendMs } = this.#far.options;
    const timer = setTimeout(() => {
      this.#far.upstream?.poison('upstream.timeout', `the final dot was not reached within ${sendMs} ms`);
    }, sendMs);
    try {
      return await this.#send(trace, body, () => clearTimeout(timer));
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(trace: Buffer, body: SpooledBody, beforeEnd: () => void): Promise<FarReply> {
    const data = await this.#far.ask('DATA', 'data');
    if (data.kind === 'fault' || data.code >= 400) {
      // The host takes its message for answered: what is left of the envelope is ours to clear.
      if (data.kind === 'reply') this.#reset();
      this.#state = 'over';
      return this.#far.passOn(data);
    }
    const upstream = this.#far.upstream as Upstream;
    if (this.#wasAbandoned) {
      upstream.poison('upstream.lost', 'the message was given up');
      return this.#failure('session.gone', 'the message was given up');
    }
    const { replyMs, finalMs, counters } = this.#far.options;
    try {
      const { answer, isEndSent } = await upstream.message(
        pieces(trace, body, upstream.takesAtOnce),
        trace.length + body.sizeBytes,
        DOTTED,
        { stallMs: replyMs, finalMs },
        beforeEnd,
      );
      // 421 says that it was not taken; anything else leaves it open.
      if (answer.kind === 'fault' && isEndSent && answer.code !== 421) {
        counters.possibleDuplicates++;
        return this.#far.passOn({ ...answer, detail: `${answer.detail}, after the dot` });
      }
      return this.#far.passOn(answer);
    } catch (error) {
      upstream.poison('upstream.lost', 'the spooled body cannot be read');
      return this.#failure('error.internal', `the spooled body cannot be read: ${String(error)}`);
    } finally {
      this.#state = 'over';
    }
  }

  abandon(): void {
    // In the envelope it is the host that says RSET, EHLO or QUIT, which the server hears as well.
    this.#wasAbandoned = true;
    if (this.#state === 'body') this.#reset();
    else if (this.#state === 'sending' && this.#far.upstream?.isMidMessage) {
      this.#far.upstream.poison('upstream.lost', 'the message was given up');
    }
    if (this.#state !== 'sending') this.#state = 'over';
  }

  /** Whoever refuses it is left (`Upstream`). */
  #reset(): void {
    void this.#far.ask('RSET', 'rset');
  }

  #failure(of: Class, detail: string): FarReply {
    return this.#far.failure(of, detail);
  }
}
