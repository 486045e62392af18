/**
 * One mail transaction on the far side. It may pass over several connections, but its answers are one story: what a host
 * was told of a recipient stays true, or the message is refused with upstream.changed.
 *
 * A connection is held while commands follow one another, and given back (RSET) when nothing comes for `holdMs`. When
 * one is needed again, MAIL and the accepted recipients are repeated on it in one write. The same happens when a
 * connection breaks, at another server if need be, until DATA has been sent. After that nothing is tried twice.
 *
 * The host waits 10 minutes for the answer to its dot (RFC 5321 section 4.5.3.2.6). If it gives up before we do, and our
 * dot is out, it sends a duplicate. So there is one deadline for everything before our dot, and `finalMs` after it.
 */
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Class } from '../policy/classes.ts';
import type { SpooledBody } from '../wire/spool.ts';
import { DOTTED, type Frame, isChunk, lastChunk, pieces } from './frame.ts';
import type { Lease, Pool } from './pool.ts';
import type { Counters, FarReply, MailFrom, Recipient, RelayTransaction } from './relay.ts';
import type { Server } from './server.ts';
import { type Answer, type Fault, LINE_BREAK, type Step, type Upstream } from './upstream.ts';

export type TransactionOptions = {
  readonly source: string;
  readonly pool: Pool;
  readonly holdMs: number;
  readonly replyMs: number;
  /** from `send` to the final dot, whatever happens meanwhile */
  readonly sendMs: number;
  /** from the dot to the answer */
  readonly finalMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
};

type Asked = { readonly recipient: Recipient; readonly untilMs: number; readonly resolve: (reply: FarReply) => void };
type Command = { readonly line: string; readonly step: Step };
/** The connection stands with MAIL and every accepted recipient, and DATA's answer if that was sent along; or why not. */
type Opened = { readonly kind: 'open'; readonly lease: Lease; readonly data: Answer | undefined } | FarReply;

const NONE: ReadonlySet<Server> = new Set();
const DATA: Command = { line: 'DATA', step: 'data' };

export class SmarthostTransaction implements RelayTransaction {
  readonly #options: TransactionOptions;
  readonly #id: string;
  readonly #from: MailFrom;
  readonly #mail: Command;
  #state: 'envelope' | 'sending' | 'over' = 'envelope';
  #wasAbandoned = false;

  #lease: Lease | undefined;
  /** MAIL stands on the lease, with every accepted recipient */
  #isEnvelopeOpen = false;
  #accepted: Recipient[] = [];
  /** what every further recipient and `send` are answered with: MAIL was refused, or the answers changed */
  #doom: FarReply | undefined;

  #asked: Asked[] = [];
  #asking: Promise<void> | undefined;
  #holdTimer: NodeJS.Timeout | undefined;

  /** servers that failed this transaction, and those that did so in a way that is overlooked once */
  #failed = NONE;
  #excused = NONE;
  #lastFault: FarReply | undefined;
  #isFresh = false;
  #sendTimer: NodeJS.Timeout | undefined;
  /** `sendMs` has passed and the dot is not out */
  #wasLate = false;

  constructor(from: MailFrom, id: string, options: TransactionOptions) {
    this.#from = from;
    this.#id = id;
    this.#options = options;
    this.#mail = { line: `MAIL FROM:${from.path}${from.parameters}`, step: 'mail' };
    if (LINE_BREAK.test(this.#mail.line)) this.#doom = failure('error.internal', 'a line break in MAIL');
  }

  recipient(recipient: Recipient): Promise<FarReply> {
    if (this.#state !== 'envelope') return Promise.resolve(GONE);
    if (LINE_BREAK.test(recipient.path + recipient.parameters)) {
      return Promise.resolve(failure('error.internal', 'a line break in RCPT'));
    }
    this.#stopHolding();
    return new Promise((resolve) => {
      this.#asked.push({ recipient, untilMs: this.#now() + this.#options.replyMs, resolve });
      this.#asking ??= this.#askAll();
    });
  }

  bodyBegins(): void {
    this.#hold();
  }

  async send(trace: Buffer, body: SpooledBody): Promise<FarReply> {
    if (this.#state !== 'envelope') return failure('error.internal', 'sent twice, or after it was given up');
    this.#state = 'sending';
    this.#stopHolding();
    this.#sendTimer = setTimeout(() => {
      this.#wasLate = true;
      this.#lease?.upstream.poison('upstream.timeout', this.#lateness);
    }, this.#options.sendMs);
    await this.#asking;
    const reply = await this.#send(trace, body);
    clearTimeout(this.#sendTimer);
    this.#state = 'over';
    return reply;
  }

  abandon(): void {
    if (this.#state === 'over') return;
    this.#wasAbandoned = true;
    this.#stopHolding();
    for (const { resolve } of this.#asked.splice(0)) resolve(GONE);
    if (this.#state === 'envelope') {
      this.#state = 'over';
      if (!this.#asking) this.#letGo();
    } else if (this.#lease?.upstream.isMidMessage) {
      this.#lease.upstream.poison('upstream.lost', 'the message was given up');
    }
    // Else a command is under way: whoever waits for its answer lets go. After the dot the message takes its course.
  }

  // --- recipients ---

  async #askAll(): Promise<void> {
    // What came in one segment is asked in one write: the caller goes through all of it before this goes on.
    await Promise.resolve();
    while (this.#asked.length > 0) {
      const opened = this.#doom ?? (await this.#open(false, this.#asked[0]?.untilMs ?? 0));
      if (opened.kind === 'open') await this.#ask(opened.lease);
      else for (const { resolve } of this.#asked.splice(0)) resolve(opened);
    }
    this.#asking = undefined;
    if (this.#isAbandoned()) this.#letGo();
    else if (this.#state === 'envelope') this.#hold();
  }

  /** The next group: all that were asked where PIPELINING is offered, else one. MAIL goes along with the first. */
  async #ask(lease: Lease): Promise<void> {
    const group = this.#asked.splice(0, lease.upstream.capabilities.pipelining ? this.#asked.length : 1);
    if (group.length === 0) return;
    const commands = group.map(({ recipient }) => rcpt(recipient));
    if (!this.#isEnvelopeOpen) commands.unshift(this.#mail);
    const next = say(lease.upstream, commands, this.#options.replyMs);
    if (!this.#isEnvelopeOpen) {
      const mail = await next();
      if (mail.kind === 'fault') return this.#askAgain(lease, mail, group);
      if (mail.code >= 400) return this.#mailRefused(lease, mail, group, next);
      this.#isEnvelopeOpen = true;
    }
    for (const [i, { recipient, resolve }] of group.entries()) {
      const answer = await next();
      if (answer.kind === 'fault') return this.#askAgain(lease, answer, group.slice(i));
      if (answer.code < 300) this.#accepted.push(recipient);
      resolve(passOn(lease, answer));
    }
  }

  #askAgain(lease: Lease, fault: Fault, unanswered: readonly Asked[]): void {
    this.#lose(lease, fault);
    if (this.#isAbandoned()) for (const { resolve } of unanswered) resolve(GONE);
    else this.#asked.unshift(...unanswered);
  }

  /** RFC 5321 section 3.3: without MAIL there is no RCPT; its refusal is the answer to all. */
  async #mailRefused(
    lease: Lease,
    mail: Answer & { kind: 'reply' },
    group: readonly Asked[],
    next: () => Promise<Answer>,
  ): Promise<void> {
    const { upstream } = lease;
    if (upstream.capabilities.pipelining) {
      for (const _ of group) {
        const answer = await next();
        if (answer.kind === 'fault') break;
        // A recipient that stands without MAIL: these answers belong to other commands.
        if (answer.code < 400) upstream.poison('upstream.garbage', 'MAIL was refused and RCPT accepted');
      }
    }
    if (upstream.fault) return this.#askAgain(lease, upstream.fault, group);
    this.#doom = passOn(lease, mail);
    for (const { resolve } of group) resolve(this.#doom);
    this.#letGo();
  }

  // --- the envelope, on whatever connection ---

  /** A connection with MAIL and the accepted recipients on it; `withData` sends DATA along where that saves a turn. */
  async #open(withData: boolean, untilMs: number): Promise<Opened> {
    for (;;) {
      const held = this.#lease;
      if (held && !held.upstream.fault) return { kind: 'open', lease: held, data: undefined };
      if (held?.upstream.fault) this.#lose(held, held.upstream.fault, true);
      if (this.#isLate()) return this.#lastFault ?? failure('upstream.timeout', this.#lateness);
      // A deadline has passed with a server that does not answer: no time for another.
      if (this.#lastFault && this.#now() >= untilMs) return this.#lastFault;
      const taken = await this.#options.pool.take({
        source: this.#options.source,
        needs: this.#from.needs,
        untilMs,
        except: this.#failed,
        isFresh: this.#isFresh,
        isCancelled: () => this.#isAbandoned(),
      });
      if (taken.kind === 'failure') return this.#lastFault ?? taken;
      this.#lease = taken;
      if (this.#isAbandoned()) {
        this.#letGo();
        return GONE;
      }
      if (this.#isLate()) {
        this.#letGo();
        continue;
      }
      if (this.#accepted.length === 0) return { kind: 'open', lease: taken, data: undefined };
      const repeated = await this.#repeat(taken, withData && taken.upstream.capabilities.pipelining);
      if (repeated) return repeated;
    }
  }

  /** MAIL and the accepted recipients again. Undefined: the connection broke over it, another may do. */
  async #repeat(lease: Lease, withData: boolean): Promise<Opened | undefined> {
    const { upstream } = lease;
    this.#options.counters.repeated++;
    const commands = [this.#mail, ...this.#accepted.map(rcpt), ...(withData ? [DATA] : [])];
    const next = say(upstream, commands, this.#options.replyMs);
    let isChanged = false;
    for (let i = 0; i <= this.#accepted.length; i++) {
      const answer = await next();
      if (answer.kind === 'fault') {
        this.#lose(lease, answer);
        return undefined;
      }
      if (answer.code >= 400) isChanged = true;
      if (isChanged && !upstream.capabilities.pipelining) break;
    }
    const data = withData ? await next() : undefined;
    if (!isChanged) {
      this.#isEnvelopeOpen = true;
      return { kind: 'open', lease, data };
    }
    // The server waits for a message to those recipients that are left: only a close keeps it from getting one.
    if (data?.kind === 'reply' && data.code < 400) upstream.poison('upstream.lost', 'recipients changed');
    this.#options.counters.changed++;
    this.#options.log.write('info', 'upstream.changed', { id: this.#id, server: lease.server.name });
    this.#doom = failure('upstream.changed', 'the repeated envelope was answered otherwise', lease);
    this.#letGo();
    return this.#doom;
  }

  /**
   * The connection is of no more use. The server has failed this transaction, unless the fault is one that a good server
   * can have once: it closed while nothing was asked, or an idle connection turned out to be dead when it was used.
   */
  #lose(lease: Lease, fault: Fault, wasIdle = false): void {
    const { server, upstream } = lease;
    const wasStale = lease.isReused && upstream.answered === lease.answeredBefore && fault.class === 'upstream.lost';
    this.#lease = undefined;
    this.#isEnvelopeOpen = false;
    this.#lastFault = failure(fault.class, fault.detail, lease, fault);
    const isExcused = (wasIdle || wasStale) && !this.#excused.has(server);
    if (isExcused) {
      this.#excused = new Set(this.#excused).add(server);
      this.#isFresh = true;
    } else {
      this.#failed = new Set(this.#failed).add(server);
      server.suspect(this.#now());
    }
    this.#options.counters.faults++;
    this.#options.log.write(isExcused ? 'debug' : 'warn', 'upstream.fault', {
      id: this.#id,
      server: server.name,
      class: fault.class,
      // Not the detail: the far side's text can quote an address, and the network may keep none.
      step: fault.step,
      code: fault.code,
    });
  }

  // --- the message ---

  async #send(trace: Buffer, body: SpooledBody): Promise<FarReply> {
    if (this.#accepted.length === 0 && !this.#doom) return failure('error.internal', 'no recipient was accepted');
    if (this.#isAbandoned()) {
      this.#letGo();
      return GONE;
    }
    const { replyMs, sendMs } = this.#options;
    const mayBeChunk = isChunk(body);
    const opened = this.#doom ?? (await this.#open(!mayBeChunk, this.#now() + Math.min(replyMs, sendMs)));
    if (opened.kind !== 'open') return opened;
    const { lease } = opened;
    // What needs no unstuffing goes as one chunk where chunks are taken: one turn less than DATA and its 354.
    if (mayBeChunk && lease.upstream.capabilities.chunking) {
      // Nothing of the message is on its way yet: RSET is enough.
      if (this.#isAbandoned()) {
        this.#letGo();
        return GONE;
      }
      return this.#message(lease, trace, body, lastChunk(trace.length + body.sizeBytes));
    }
    const data = opened.data ?? (await say(lease.upstream, [DATA], replyMs)());
    if (data.kind === 'fault') return this.#failWith(lease, data);
    if (data.code >= 400) {
      this.#letGo();
      return passOn(lease, data);
    }
    if (this.#isAbandoned()) {
      lease.upstream.poison('upstream.lost', 'the message was given up');
      return GONE;
    }
    return this.#message(lease, trace, body, DOTTED);
  }

  async #message(lease: Lease, trace: Buffer, body: SpooledBody, frame: Frame): Promise<FarReply> {
    const { pool, replyMs, finalMs, counters } = this.#options;
    const { upstream } = lease;
    try {
      const timeouts = { stallMs: replyMs, finalMs };
      const { answer, isEndSent } = await upstream.message(
        pieces(trace, body, upstream.takesAtOnce),
        trace.length + body.sizeBytes,
        frame,
        timeouts,
        () => clearTimeout(this.#sendTimer),
      );
      if (answer.kind === 'fault') {
        // 421 says that it was not taken; anything else leaves it open.
        const isDoubtful = isEndSent && answer.code !== 421;
        if (isDoubtful) counters.possibleDuplicates++;
        return this.#failWith(lease, isDoubtful ? { ...answer, detail: `${answer.detail}, after the dot` } : answer);
      }
      this.#lease = undefined;
      // RFC 3030 section 2: after a refused chunk the server's state is anybody's guess until RSET.
      pool.giveBack(lease, frame === DOTTED || answer.code < 400 ? 'clean' : 'reset');
      return passOn(lease, answer);
    } catch (error) {
      upstream.poison('upstream.lost', 'the spooled body cannot be read');
      return failure('error.internal', `the spooled body cannot be read: ${String(error)}`, lease);
    }
  }

  #failWith(lease: Lease, fault: Fault): FarReply {
    this.#lose(lease, fault);
    return failure(fault.class, fault.detail, lease, fault);
  }

  // --- holding and letting go ---

  /** Asked again after each wait, for a host can go at any time. */
  #isAbandoned(): boolean {
    return this.#wasAbandoned;
  }

  /** Asked again after each wait, likewise. */
  #isLate(): boolean {
    return this.#wasLate;
  }

  get #lateness(): string {
    return `not sent within ${this.#options.sendMs} ms`;
  }

  get #isIdle(): boolean {
    return this.#asking === undefined && this.#state === 'envelope';
  }

  #hold(): void {
    this.#stopHolding();
    if (!this.#lease || !this.#isIdle) return;
    this.#holdTimer = setTimeout(() => {
      if (this.#isIdle) this.#letGo();
    }, this.#options.holdMs);
  }

  #stopHolding(): void {
    clearTimeout(this.#holdTimer);
    this.#holdTimer = undefined;
  }

  #letGo(): void {
    const lease = this.#lease;
    if (!lease) return;
    const isUsed = lease.upstream.answered > lease.answeredBefore;
    this.#lease = undefined;
    this.#isEnvelopeOpen = false;
    this.#options.pool.giveBack(lease, !isUsed ? 'clean' : this.#accepted.length > 0 ? 'reset' : 'refused');
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }
}

function rcpt(recipient: Recipient): Command {
  return { line: `RCPT TO:${recipient.path}${recipient.parameters}`, step: 'rcpt' };
}

/**
 * Each call is the answer to the next command. With PIPELINING all are sent in one write, and each answer has to be
 * taken; without it a command is sent when it is asked for.
 */
function say(upstream: Upstream, commands: readonly Command[], replyMs: number): () => Promise<Answer> {
  let at = 0;
  const send = (some: readonly Command[]): Promise<Answer>[] => {
    const text = some.map(({ line }) => `${line}\r\n`).join('');
    // Latin 1 is one byte for each character: the octets of the host's own command.
    const steps = some.map(({ step }) => step);
    return upstream.exchange(Buffer.from(text, 'latin1'), steps, replyMs);
  };
  const answers = upstream.capabilities.pipelining ? send(commands) : undefined;
  return () => {
    const i = at++;
    return (answers?.[i] ?? send([commands[i] as Command])[0]) as Promise<Answer>;
  };
}

function passOn(lease: Lease, { code, bytes }: Answer & { kind: 'reply' }): FarReply {
  return { kind: 'reply', code, bytes, server: lease.server.name, tlsVersion: lease.upstream.tlsVersion };
}

function failure(of: Class, detail: string, lease?: Lease, { code, step }: Partial<Fault> = {}): FarReply {
  return {
    kind: 'failure',
    class: of,
    detail,
    ...(lease && { server: lease.server.name, tlsVersion: lease.upstream.tlsVersion }),
    ...(code !== undefined && { code }),
    ...(step !== undefined && { step }),
  };
}

const GONE = failure('session.gone', 'the transaction was given up');
