/**
 * One connection to a far server: commands out, replies in, and never a doubt about which reply belongs to which.
 *
 * Whatever raises such a doubt ends the connection at once and for good (it is "poisoned"): bytes that are no reply, a
 * reply that nobody asked for, a code that the command cannot have, 421, a deadline, a close. A connection without a
 * fault and without an open question is clean. Nothing here throws or rejects.
 */
import { TLSSocket } from 'node:tls';
import { Deadline } from '../kit/deadline.ts';
import { type ByteSocket, TcpSocket } from '../kit/tcp.ts';
import { type Capabilities, noCapabilities } from '../smtp/capabilities.ts';
import { FarReplyParser, oneLine, type ParsedReply } from '../smtp/far-reply.ts';
import type { Frame } from './frame.ts';
import { type Peer, peerOf } from './peer.ts';

export type Fault = {
  readonly kind: 'fault';
  readonly class: 'upstream.timeout' | 'upstream.lost' | 'upstream.garbage';
  readonly detail: string;
  /** the server's code where a reply is the fault. 421 only where it means that what was asked is not taken */
  readonly code?: number;
  /** that 421 as it came */
  readonly bytes?: Buffer;
  /** what was waited for */
  readonly step?: Step;
};

export type Answer = ({ readonly kind: 'reply' } & ParsedReply) | Fault;

/** What a reply answers; it decides which codes make sense. */
export type Step =
  | 'banner'
  | 'ehlo'
  | 'helo'
  | 'starttls'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'message'
  | 'rset'
  /** a command without an effect on a transaction: NOOP, VRFY, EXPN, HELP, QUIT */
  | 'other';

const isCompletion = (code: number): boolean => code >= 250 && code <= 259;

/** The codes below 400 that can answer a step (RFC 5321 section 4.3.2); 4yz and 5yz always can, but for 421. */
const GOOD: Readonly<Record<Step, (code: number) => boolean>> = {
  banner: (code) => code === 220,
  ehlo: isCompletion,
  helo: isCompletion,
  starttls: (code) => code === 220,
  auth: (code) => code === 235 || code === 334,
  mail: isCompletion,
  rcpt: isCompletion,
  data: (code) => code === 354,
  message: isCompletion,
  rset: isCompletion,
  other: (code) => code < 300,
};

/** What would end a command line. The session core lets none of these through; here they would become commands. */
// biome-ignore lint: control characters are the point
export const LINE_BREAK = /[\r\n\0]/;

type Question = {
  readonly step: Step;
  readonly timeoutMs: number;
  readonly resolve: (answer: Answer) => void;
};

/** Large bodies go to the kernel in writes of this size: what a slow server makes us hold, and what counts as progress. */
const WRITE_BYTES = 64 * 1024;
const QUIT_MS = 1000;
const QUIT = Buffer.from('QUIT\r\n');
export const RSET = Buffer.from('RSET\r\n');

export class Upstream {
  /** what the last EHLO on this connection offered */
  capabilities: Capabilities = noCapabilities;
  /** TLS with a certificate that was checked against the configured name */
  isVerified = false;
  idleSinceMs = 0;

  readonly #socket: ByteSocket;
  readonly #tlsVersion: string | undefined;
  readonly #parser = new FarReplyParser();
  readonly #questions: Question[] = [];
  readonly #deadline = new Deadline(() => this.#late());
  #peer: Peer | undefined;
  #fault: Fault | undefined;
  #isGone = false;
  #onGone: (() => void) | undefined;
  #isEnding = false;
  #isReleased = false;
  #drained: (() => void) | undefined;
  #answered = 0;
  #resetsFirst = false;
  #isMidMessage = false;

  constructor(socket: ByteSocket) {
    this.#socket = socket;
    if (socket instanceof TLSSocket) this.#tlsVersion = socket.getProtocol() ?? undefined;
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** What the server has shown; undefined in clear. */
  get peer(): Peer | undefined {
    if (this.#socket instanceof TLSSocket) return (this.#peer ??= peerOf(this.#socket));
    return undefined;
  }

  get fault(): Fault | undefined {
    return this.#fault;
  }

  /** Usable for the next command: no fault, nothing unanswered. */
  get isClean(): boolean {
    return this.#fault === undefined && !this.#isEnding && this.#questions.length === 0 && !this.#parser.isMidReply;
  }

  /** Replies so far: whether a connection that breaks had answered anything since it was lent. */
  get answered(): number {
    return this.#answered;
  }

  /** Calls back once, when the socket is closed; soon, when it is already. */
  whenGone(run: () => void): void {
    if (this.#isGone) queueMicrotask(run);
    else this.#onGone = run;
  }

  /** A message has begun and not ended: only a close can end it. */
  get isMidMessage(): boolean {
    return this.#isMidMessage;
  }

  /** The reply to something that was not asked by us: the banner. */
  expect(step: Step, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve) => {
      if (this.#fault) return resolve(this.#fault);
      this.#questions.push({ step, timeoutMs, resolve });
      if (this.#questions.length === 1) this.#arm();
    });
  }

  /**
   * Several commands in one write, one answer for each, in order. More than one only where PIPELINING is offered
   * (RFC 2920). `timeoutMs` counts for each reply, from the moment that nothing else is expected before it.
   */
  exchange(bytes: Buffer, steps: readonly Step[], timeoutMs: number): Promise<Answer>[] {
    if (this.#resetsFirst) void this.expect('rset', timeoutMs);
    const answers = steps.map((step) => this.expect(step, timeoutMs));
    if (!this.#fault) this.#socket.write(this.#resetsFirst ? Buffer.concat([RSET, bytes]) : bytes);
    this.#resetsFirst = false;
    return answers;
  }

  /** The next commands have RSET before them, in the same write: only where PIPELINING is offered. */
  resetFirst(): void {
    this.#resetsFirst = true;
  }

  /**
   * The message in its frame. The pieces end in CRLF. `sizeBytes` is what they must come to: the end is never sent behind
   * less. `isEndSent` false: the server cannot have taken the message. `beforeEnd` is called right before the last of it
   * goes out.
   */
  async message(
    pieces: Iterable<Buffer>,
    sizeBytes: number,
    frame: Frame,
    timeouts: { readonly stallMs: number; readonly finalMs: number },
    beforeEnd: () => void,
  ): Promise<{ answer: Answer; isEndSent: boolean }> {
    this.#isMidMessage = true;
    let batch: Buffer[] = frame.begin ? [frame.begin] : [];
    let batchBytes = 0;
    let sentBytes = 0;
    const flush = async (): Promise<void> => {
      if (!this.#write(batch)) await this.#drain(timeouts.stallMs);
      batch = [];
      batchBytes = 0;
    };
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; at += WRITE_BYTES) {
        const part = piece.length <= WRITE_BYTES ? piece : piece.subarray(at, at + WRITE_BYTES);
        if (batchBytes + part.length > WRITE_BYTES) await flush();
        if (this.#fault) return { answer: this.#fault, isEndSent: false };
        batch.push(part);
        batchBytes += part.length;
        sentBytes += part.length;
      }
      // Before the next is asked for, which may be read to the same place.
      if (piece.length > WRITE_BYTES) await flush();
    }
    if (sentBytes !== sizeBytes) {
      this.poison('upstream.lost', `the body has ${sentBytes} bytes of ${sizeBytes}; the connection was cut off`);
    }
    if (this.#fault) return { answer: this.#fault, isEndSent: false };
    beforeEnd();
    const answer = this.expect('message', timeouts.finalMs);
    if (frame.end) batch.push(frame.end);
    this.#write(batch);
    this.#isMidMessage = false;
    return { answer: await answer, isEndSent: true };
  }

  /** Ends it for good; every open question is answered with the fault. The first fault counts. */
  poison(of: Fault['class'], detail: string, { code, bytes }: { code?: number; bytes?: Buffer } = {}): void {
    if (this.#isReleased) return;
    const step = this.#isMidMessage ? 'message' : this.#questions[0]?.step;
    this.#fault ??= {
      kind: 'fault',
      class: of,
      detail,
      ...(code && { code }),
      ...(bytes && { bytes }),
      ...(step && { step }),
    };
    this.#deadline.end();
    this.#socket.destroy();
    const fault = this.#fault;
    for (const question of this.#questions.splice(0)) question.resolve(fault);
    this.#onDrain();
  }

  /** What comes while it is held waits in the kernel; deadlines go on. */
  hold(isHeld: boolean): void {
    if (isHeld === this.#socket.isPaused()) return;
    if (isHeld) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Says QUIT and closes; waits for nothing but is gone within a second. */
  quit(): void {
    if (this.#fault || this.#isEnding || this.#isGone) return;
    this.#isEnding = true;
    this.#deadline.set(QUIT_MS);
    this.#socket.write(QUIT);
    this.#socket.end();
  }

  /**
   * Gives up the socket for STARTTLS: what comes now is no reply any more. Only right after the 220; undefined when
   * anything else is on the connection (bytes in clear behind the 220 would be taken for the server's word inside TLS).
   */
  release(): ByteSocket | undefined {
    if (!this.isClean) return undefined;
    this.#isReleased = true;
    this.#deadline.end();
    this.#socket.off('data', this.#onData);
    this.#socket.off('drain', this.#onDrain);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onClose);
    // The error listener stays, so that an error of the bare socket below TLS is never an uncaught one.
    return this.#socket;
  }

  /** What a write has let go is with the kernel: its place can be used again. TLS still has to encrypt it. */
  get takesAtOnce(): boolean {
    return this.#socket instanceof TcpSocket;
  }

  /** `TLSv1.3`; undefined in clear */
  get tlsVersion(): string | undefined {
    return this.#tlsVersion;
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#fault || this.#isEnding) return;
    const { replies, garbage } = this.#parser.push(chunk);
    if (garbage !== undefined) return this.poison('upstream.garbage', garbage);
    const open = this.#questions.length - replies.length;
    // A reply is believed only when nothing follows it that was not asked for: otherwise any of these may be the
    // stray one, and none is given to a command.
    if (open < 0 || (open === 0 && this.#parser.isMidReply)) {
      const stray = replies.at(-1);
      if (stray?.code === 421 && this.#questions.length === 0) return this.#closing(stray);
      return this.poison('upstream.garbage', `a reply nobody asked for${stray ? `: ${oneLine(stray)}` : ''}`);
    }
    for (const [i, reply] of replies.entries()) {
      const { step } = this.#questions[i] as Question;
      const isSenseless = reply.code < 400 && !GOOD[step](reply.code);
      // RSET cannot be refused (RFC 5321 section 4.1.1.5): what a MAIL behind it would belong to is unknown.
      const isUnreset = reply.code >= 400 && step === 'rset';
      if (reply.code !== 421 && !isSenseless && !isUnreset) continue;
      this.#answer(replies.slice(0, i));
      if (reply.code === 421) return this.#closing(reply);
      const of = isUnreset ? 'upstream.lost' : 'upstream.garbage';
      return this.poison(of, `to ${step}: ${oneLine(reply)}`, { code: reply.code });
    }
    if (replies.length > 0) this.#answer(replies);
  };

  /** 421 may come at any time, also unasked (RFC 5321 section 3.8): the server closes. */
  #closing(reply: ParsedReply): void {
    this.poison('upstream.lost', oneLine(reply), { code: 421, bytes: reply.bytes });
  }

  #answer(replies: readonly ParsedReply[]): void {
    const answered = this.#questions.splice(0, replies.length);
    this.#answered += answered.length;
    for (const [i, question] of answered.entries()) {
      const { code, bytes } = replies[i] as ParsedReply;
      question.resolve({ kind: 'reply', code, bytes });
    }
    this.#arm();
  }

  readonly #onDrain = (): void => {
    const drained = this.#drained;
    this.#drained = undefined;
    drained?.();
  };

  readonly #onEnd = (): void => this.#lost('the server closed the connection');

  readonly #onError = (error: Error): void => this.#lost(error.message);

  readonly #onClose = (): void => {
    this.#lost('the connection is closed');
    this.#deadline.end();
    if (this.#isGone) return;
    this.#isGone = true;
    this.#onGone?.();
  };

  #lost(detail: string): void {
    if (!this.#isEnding) this.poison('upstream.lost', detail);
  }

  /** The first question's time begins. */
  #arm(): void {
    const [first] = this.#questions;
    if (first) this.#deadline.set(first.timeoutMs);
    else this.#deadline.clear();
  }

  #late(): void {
    const [first] = this.#questions;
    if (first) this.poison('upstream.timeout', `no whole reply to ${first.step} within ${first.timeoutMs} ms`);
    else if (this.#isEnding) this.#socket.destroy();
  }

  /** One system call for all of it. False: wait for the drain. */
  #write(batch: readonly Buffer[]): boolean {
    this.#socket.cork();
    for (const part of batch) this.#socket.write(part);
    this.#socket.uncork();
    return !this.#socket.writableNeedDrain;
  }

  #drain(stallMs: number): Promise<void> {
    if (this.#fault) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.poison('upstream.timeout', `took nothing for ${stallMs} ms`), stallMs);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
