/**
 * One connection: moves bytes between its socket and the session core, and does what the core says.
 *
 * The core decides order and replies; way.ts decides about mail; this file owns the socket, the deadline and the
 * buffers. Replies to what came in one segment leave in one write. Nothing here waits: every await is a promise whose
 * answer is handed to the core as an event, and a host that disconnects meanwhile is one more event.
 */
import type { FilterResult } from '../filter/run.ts';
import type { Arrival } from '../intercept/arrival.ts';
import { newId } from '../kit/ids.ts';
import type { ByteSocket, Receiver } from '../kit/tcp.ts';
import type { Class } from '../policy/classes.ts';
import { classOfFailure, type TlsCause, type TlsFacts, turnedAway } from '../policy/tls.ts';
import { noCapabilities } from '../smtp/capabilities.ts';
import { type Reply, refusal } from '../smtp/reply.ts';
import { type Refusal, Session, type SessionCommand, type SessionEvent, type Slot } from '../smtp/session.ts';
import { hasAccepted, type Recipient, type Transaction } from '../smtp/transaction.ts';
import { BodyReader } from '../wire/body.ts';
import { LineReader } from '../wire/lines.ts';
import { SpooledBody } from '../wire/spool.ts';
import { isExcused } from './excused.ts';
import { FarSide } from './far-side.ts';
import { Handshake } from './handshake.ts';
import { factorOf, Patience } from './patience.ts';
import type { Rooms } from './rooms.ts';
import { messageWay, noteFar, recipientWay } from './way.ts';
import { type Origin, refusedArrival, type Whose, Work } from './work.ts';

const MAX_COMMAND_BYTES = 2048;
/** What came before its turn: beyond this we stop reading. It is joined anew with each segment, so it is small. */
const MAX_PENDING_BYTES = 16 * 1024;
/** Replies that the host has not read: beyond this we run none of its commands, and read nothing of a server of its own. */
const MAX_WAITING_BYTES = 64 * 1024;
/**
 * What one host gets done in one turn of the loop, however much it has sent; then it is the others' turn. One read gives
 * at most a segment; left alone, the loop would read 32 of them from one socket before it looks at the next.
 */
const TURN_COMMANDS = 100;
const SEGMENT_BYTES = 64 * 1024;

export class Connection implements Receiver {
  readonly #rooms: Rooms;
  #socket: ByteSocket;
  readonly #arrival: Arrival;
  #origin: Origin;
  readonly #session: Session;
  readonly #lines = new LineReader(MAX_COMMAND_BYTES);
  readonly #id: string;
  readonly #atMs: number;
  readonly #handshake: Handshake;
  readonly #patience: Patience;
  readonly #startMs: number;
  readonly #onEnd: (connection: Connection) => void;
  #out: Buffer[] = [];
  #outBytes = 0;
  #body: BodyReader | undefined;
  #room: Buffer | undefined;
  #work: Work | undefined;
  /** where the server answers for itself */
  #far: FarSide | undefined;
  /** it has ended, while a message had still to be answered */
  #farEnd: SessionEvent | undefined;
  /** a message is being judged or sent, whatever became of the session meanwhile */
  #isJudging = false;
  #transactions = 0;
  /** the host sends no more */
  #ended = false;
  #opened = false;
  #closing = false;
  #mayHangUp = false;
  #gone = false;
  #feeding = false;
  /** it has had its turn of the loop */
  #resting = false;
  #overLimit: Class | undefined;

  constructor(rooms: Rooms, socket: ByteSocket, arrival: Arrival, whose: Whose, onEnd: (c: Connection) => void) {
    this.#rooms = rooms;
    this.#socket = socket;
    this.#arrival = arrival;
    this.#onEnd = onEnd;
    this.#atMs = rooms.clock.nowMs();
    this.#startMs = rooms.clock.monotonicMs();
    this.#id = newId(this.#atMs);
    this.#patience = new Patience(rooms.clock);
    this.#handshake = new Handshake(rooms, this.#id);
    this.#origin = {
      ...whose,
      session: this.#id,
      worker: rooms.worker,
      arrival,
      isEarly: false,
      found: undefined,
      tls: undefined,
    };
    const { config } = rooms;
    this.#session = new Session({
      id: this.#id,
      gatewayName: config.gateway.name,
      helpUrl: config.gateway.helpUrl,
      maxRecipients: config.limits.recipients,
      maxErrors: config.limits.errors,
      maxMessages: this.#maxMessages(),
      maxSizeBytes: config.limits.messageSize,
      isFarAnswering: whose.network.egress === 'preserve',
      offers: () => rooms.relay.offers() ?? noCapabilities,
      // What the server that a host called does not offer, it never did.
      everOffered: (extension) => whose.network.egress === 'smarthost' && rooms.relay.everOffered(extension),
      isFollowed: () => this.#lines.pendingBytes > 0,
      newId: () => newId(rooms.clock.nowMs()),
    });
    this.#listen();
  }

  /** 0 is any number. */
  #maxMessages(): number {
    const { network } = this.#origin;
    const isFree = isExcused(this.#rooms, { origin: this.#origin, identity: undefined }, 'limit.session');
    return network.mode === 'observe' || isFree ? 0 : network.messagesPerConnection;
  }

  get id(): string {
    return this.#id;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.receiver = this;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnded);
    socket.on('drain', this.#onDrain);
    socket.on('error', this.#onGone);
    socket.on('close', this.#onGone);
  }

  readonly #onData = (chunk: Buffer): void => this.#data(chunk);

  readonly #onEnded = (): void => {
    this.#ended = true;
    this.#feed();
  };

  readonly #onDrain = (): void => {
    this.#patience.unread(false);
    this.#feed();
    if (this.#handshake.isDue) this.#shakeHands();
  };

  readonly #onGone = (): void => this.#leave();

  /** The banner, or the refusal that stands in its place. `overLimit` is what mode "observe" lets pass. */
  open(refuse: Refusal | undefined, overLimit: Class | undefined, found?: FilterResult, banner?: Reply): void {
    this.#overLimit = overLimit;
    if (found) this.#origin = { ...this.#origin, found };
    this.#opened = true;
    // Filters took their time: the worker has drained and said 421, or the host has gone.
    if (this.#isOver()) return;
    this.#step({ kind: 'open', ...(refuse && { refuse }), ...(banner && { banner }) });
    this.#feed();
  }

  /** Calls the server that the host has called: its banner is the banner, or why there is none. */
  async call(overLimit: Class | undefined, found?: FilterResult): Promise<void> {
    // Filters took their time, as in `open`.
    if (this.#isOver()) return;
    const { farSession, config, counts } = this.#rooms;
    const far = new FarSide(farSession(this.#arrival, config), {
      answered: (slot, reply, offer) => {
        if (this.#isOver()) return;
        this.#patience.spoken();
        if (slot.passedOn?.verb === 'MAIL') this.#noteFar();
        this.#step({ kind: 'answer', slot, reply, ...(offer && { offer }) });
        this.#feed();
      },
      lost: (why, reply) => {
        this.#farEnd ??= { kind: 'stop', class: why, ...(reply && { reply }) };
        if (!this.#isJudging) this.#endWithFar();
      },
    });
    this.#far = far;
    counts.preserved++;
    const banner = await far.call();
    if (this.#isOver()) return;
    if (typeof banner === 'string') this.open({ class: banner }, undefined, found);
    else this.open(undefined, overLimit, found, banner);
  }

  #endWithFar(): void {
    if (!this.#farEnd || this.#isOver()) return;
    this.#noteFar();
    this.#step(this.#farEnd);
    this.#flush();
  }

  #noteFar(): void {
    if (this.#work && this.#far?.last) noteFar(this.#rooms, this.#work, this.#far.last);
  }

  #closeFar(): void {
    if (!this.#far || this.#isJudging) return;
    void this.#far.close().then(() => this.#rooms.counts.preserved--);
    this.#far = undefined;
  }

  /** Ends it with 421, unless a message is on its way to the far side: then after its answer. */
  stop(why: Class): void {
    if (this.#work?.inFlight) return;
    this.#step({ kind: 'stop', class: why });
    this.#flush();
  }

  /** The worker ends now: a message without an answer is told nothing more, and recorded, for it may have arrived. */
  cut(): void {
    const work = this.#work;
    if (!work?.inFlight) return;
    this.#finish(work, 'session.shutdown');
    this.#socket.destroy();
  }

  /** A message is under way, or it is accepted and has not heard a word yet: a worker that ends owes it an answer. */
  get isBusy(): boolean {
    return this.#work !== undefined || !this.#opened;
  }

  get source(): string {
    return this.#arrival.source;
  }

  /** Called about every 250 ms. */
  checkDeadlines(nowMs: number, pressed: boolean): void {
    const { limits, tls } = this.#rooms.config;
    if (this.#handshake.isUnderWay) {
      if (this.#handshake.isLate(nowMs, tls.handshakeTimeout * factorOf(pressed)))
        this.#noTls('timeout', 'the handshake took too long');
      return;
    }
    const moment = {
      isClosing: this.#closing,
      isHostsTurn: this.#isHostsTurn(),
      bodyBytes: this.#body?.receivedBytes,
      unreadBytes: this.#socket.writableLength,
    };
    const late = this.#patience.late(moment, limits, nowMs, pressed);
    if (late === undefined) return;
    if (late === 'told') return this.stop('limit.time');
    // It does not read, so there is no one to tell; but it is recorded.
    if (late === 'deaf') this.#step({ kind: 'stop', class: 'limit.time' });
    this.#socket.destroy();
  }

  #data(chunk: Buffer): void {
    if (this.#closing) return;
    if (!this.#opened && !this.#origin.isEarly) this.#origin = { ...this.#origin, isEarly: true };
    if (this.#body && this.#lines.pendingBytes === 0) {
      this.#bodyBytes(chunk);
      if (chunk.length >= SEGMENT_BYTES) this.#rest();
    } else this.#lines.push(chunk);
    this.#feed();
    // The chunk was lent.
    this.#lines.keep();
  }

  /** A large body is read to where it stays. */
  room(): Buffer | undefined {
    this.#room = this.#closing || this.#lines.pendingBytes > 0 ? undefined : this.#body?.room();
    return this.#room;
  }

  filled(bytes: number): void {
    const body = this.#body as BodyReader;
    const room = this.#room as Buffer;
    this.#room = undefined;
    this.#bodyRead(body, room.subarray(0, bytes), body.filled(bytes));
    this.#feed();
    this.#lines.keep();
  }

  /** Reads no more until the loop has gone round once. */
  #rest(): void {
    if (this.#resting) return;
    this.#resting = true;
    setImmediate(() => {
      this.#resting = false;
      this.#feed();
    });
  }

  /** Hands the core what it wants, as long as there is some of it; then writes what it said. */
  #feed(): void {
    if (this.#feeding || this.#gone) return;
    this.#feeding = true;
    for (let commands = 0; !this.#resting && this.#feedOne(); ) {
      // Commands are short and some replies long: what is said must not pile up until all that came is read.
      if (this.#outBytes > MAX_WAITING_BYTES) this.#flush();
      if (++commands === TURN_COMMANDS) this.#rest();
    }
    if (this.#mayNotGoOn) this.#step({ kind: 'stop', class: 'session.shutdown' });
    this.#feeding = false;
    // A pipelining host waits for the whole group: while one of its answers is out, what is said already can wait too.
    if (this.#session.wants !== 'answer' || this.#outBytes > MAX_WAITING_BYTES) this.#flush();
    if (this.#isOver()) return;
    const isUnread = this.#socket.writableLength > MAX_WAITING_BYTES;
    this.#far?.hold(isUnread);
    const full = isUnread || this.#lines.pendingBytes > MAX_PENDING_BYTES;
    if (full || this.#resting || this.#handshake.isDue) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  #feedOne(): boolean {
    if (this.#closing || this.#mayNotGoOn) return false;
    if (this.#body) {
      if (this.#lines.pendingBytes > 0) this.#bodyBytes(this.#lines.takeRest());
      if (!this.#inBody()) return true;
      if (this.#ended) this.#step({ kind: 'gone' });
      return false;
    }
    if (this.#session.wants !== 'line' || this.#socket.writableLength > MAX_WAITING_BYTES) return false;
    const line = this.#lines.next();
    if (line === undefined) {
      // One that sends no more may still read: it gets the answers it has asked for.
      if (this.#ended && !this.#session.isAsking) this.#step({ kind: 'gone' });
      return false;
    }
    this.#patience.spoken();
    this.#step(typeof line === 'string' ? { kind: 'line', line } : { kind: 'line-fault', fault: line.fault });
    return true;
  }

  /** The worker drains: what is under way is finished, and nothing is begun, pipelined or not. */
  get #mayNotGoOn(): boolean {
    return this.#rooms.draining && !this.isBusy;
  }

  /** While it waits for our answers no time of its own runs. */
  #isHostsTurn(): boolean {
    return this.#session.wants === 'line' && !this.#session.isAsking;
  }

  #inBody(): boolean {
    return this.#body !== undefined;
  }

  #isOver(): boolean {
    return this.#closing || this.#gone;
  }

  #bodyBytes(chunk: Buffer): void {
    const body = this.#body as BodyReader;
    this.#bodyRead(body, chunk, body.push(chunk, 0));
  }

  #bodyRead(body: BodyReader, chunk: Buffer, end: number): void {
    if (end < 0 && !body.lenientEnd) return;
    this.#body = undefined;
    if (end >= 0 && end < chunk.length) this.#lines.push(chunk.subarray(end));
    void this.#judge(this.#work as Work, body);
  }

  async #judge(work: Work, body: BodyReader): Promise<void> {
    work.inFlight = true;
    this.#isJudging = true;
    const { helo = '', esmtp } = this.#session;
    let outcome: Reply;
    try {
      outcome = await messageWay(this.#rooms, work, body, { helo, esmtp });
    } catch (error) {
      this.#rooms.log.write('error', 'fault', { id: work.transaction.id, error: String(error), stack: stackOf(error) });
      outcome = refusal('error.internal', work.transaction.id, this.#rooms.config.gateway.helpUrl);
    }
    body.spool.release();
    work.inFlight = false;
    this.#isJudging = false;
    work.outcome = outcome;
    this.#patience.spoken();
    if (this.#isOver()) {
      // The host went away meanwhile; what became of its message is recorded all the same.
      this.#finish(work, 'session.gone');
      if (this.#gone) this.#closeFar();
      return;
    }
    this.#step({ kind: 'outcome', reply: outcome });
    this.#endWithFar();
    // At once, whatever was pipelined behind it: a 250 that is held back is a message that may be sent twice.
    this.#flush();
    this.#feed();
  }

  #step(event: SessionEvent): void {
    for (const command of this.#session.step(event)) this.#obey(command);
  }

  #obey(command: SessionCommand): void {
    switch (command.kind) {
      case 'reply':
        this.#out.push(command.reply.bytes);
        this.#outBytes += command.reply.bytes.length;
        return;
      case 'begin':
        return this.#begin(command.transaction);
      case 'recipient':
        void this.#recipient(command.slot, command.recipient);
        return;
      case 'pass-on':
        void this.#passOn(command);
        return;
      case 'body':
        return this.#startBody();
      case 'secure':
        // What comes now is for TLS to read.
        this.#handshake.due();
        this.#socket.pause();
        return;
      case 'end':
        return this.#endWork(command.reply, command.why);
      case 'close':
        return this.#close(command.byQuit);
    }
  }

  #begin(transaction: Transaction): void {
    this.#work = new Work(this.#origin, transaction, this.#rooms.clock.nowMs(), this.#rooms.clock.monotonicMs());
    this.#work.wouldBe = this.#overLimit;
    if (this.#far) this.#work.relay = this.#far.begin(transaction);
    this.#transactions++;
  }

  async #recipient(slot: Slot, recipient: Recipient): Promise<void> {
    const work = this.#work as Work;
    let answer: Reply;
    try {
      answer = await recipientWay(this.#rooms, work, recipient, this.#session.helo ?? '');
    } catch (error) {
      this.#rooms.log.write('error', 'fault', { id: work.transaction.id, error: String(error), stack: stackOf(error) });
      answer = refusal('error.internal', work.transaction.id, this.#rooms.config.gateway.helpUrl);
    }
    // The first recipient that stands makes it a message; what is only begun is no use of a session.
    if (answer.code < 300 && !hasAccepted(work.transaction)) this.#patience.used();
    work.recipientClasses[slot.recipientIndex] = answer.class ?? 'accepted.clean';
    if (this.#isOver() || this.#work !== work) return;
    this.#patience.spoken();
    this.#step({ kind: 'recipient', slot, reply: answer });
    this.#feed();
  }

  async #passOn({ slot, command }: SessionCommand & { kind: 'pass-on' }): Promise<void> {
    try {
      await this.#far?.passOn(slot, command);
    } catch (error) {
      this.#rooms.log.write('error', 'fault', { id: this.#id, error: String(error), stack: stackOf(error) });
      this.stop('error.internal');
    }
  }

  #startBody(): void {
    const { limits } = this.#rooms.config;
    const spool = new SpooledBody(this.#rooms.budget, limits.bodyMemory, this.#rooms.spoolDir);
    this.#body = new BodyReader(spool, { maxLineBytes: limits.bodyLine, maxSizeBytes: limits.messageSize });
    this.#patience.bodyBegins();
    this.#work?.relay?.bodyBegins();
  }

  /** The core let the transaction go. While its message is being judged or sent, the record waits for the outcome. */
  #endWork(answer: Reply | undefined, why: Class): void {
    const work = this.#work;
    if (!work) return;
    if (this.#body) {
      work.sizeBytes = this.#body.receivedBytes;
      this.#body.spool.release();
      this.#body = undefined;
    }
    this.#work = undefined;
    if (hasAccepted(work.transaction)) this.#patience.used();
    if (answer) work.outcome = answer;
    work.relay?.abandon();
    if (!work.inFlight) this.#finish(work, why);
  }

  #finish(work: Work, why: Class): void {
    if (work.isRecorded) return;
    work.isRecorded = true;
    // One that was cut off without an answer may have arrived, and counts.
    work.counting?.end(work.inFlight || (work.outcome !== undefined && work.outcome.code < 300));
    const { helo, esmtp } = this.#session;
    this.#rooms.ledger.record(work.toAttempt(helo, esmtp, why, this.#rooms.clock.monotonicMs()));
  }

  #flush(): void {
    if (this.#out.length === 0) return;
    const bytes = this.#out.length === 1 ? (this.#out[0] as Buffer) : Buffer.concat(this.#out);
    this.#out = [];
    this.#outBytes = 0;
    if (this.#gone || !this.#socket.writable) return;
    if (!this.#socket.write(bytes)) this.#patience.unread(true);
    if (this.#closing) this.#endSocket();
    else if (this.#handshake.isDue && !this.#socket.writableNeedDrain) this.#shakeHands();
  }

  /** The 220 is out and nothing of the host's was read behind its STARTTLS. */
  #shakeHands(): void {
    this.#handshake.inTurn(this.#arrival.destination, () => {
      if (!this.#isOver()) this.#beginTls();
    });
  }

  #beginTls(): void {
    const socket = this.#socket;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnded);
    socket.off('drain', this.#onDrain);
    socket.off('error', this.#onGone);
    socket.off('close', this.#onGone);
    this.#socket = this.#handshake.begin(socket, this.#arrival.destination, {
      secured: (facts) => this.#secured(facts),
      failed: (cause, detail) => this.#noTls(cause, detail),
    });
  }

  #secured(facts: TlsFacts): void {
    this.#origin = { ...this.#origin, tls: facts };
    this.#patience.spoken();
    this.#step({ kind: 'secured' });
    this.#listen();
    this.#socket.resume();
  }

  /** The handshake has failed, or TLS has later: nothing can be said any more. */
  #noTls(cause: TlsCause, detail: string): void {
    if (this.#gone) return;
    const wasHandshake = this.#handshake.failed(cause, detail, this.#closing);
    if (wasHandshake && !this.#closing) this.#recordRefusal(classOfFailure(cause), cause);
    this.#leave();
  }

  #close(byQuit: boolean): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#handshake.isUnderWay) {
      this.#socket.destroy();
      return;
    }
    // Octets behind a QUIT are left unread too: closing over them would reset the connection and lose the 221.
    this.#mayHangUp = byQuit && this.#lines.pendingBytes === 0;
    this.#patience.spoken();
    const refused = this.#session.lastRefusal;
    if (this.#transactions === 0 && refused !== undefined) this.#recordRefusal(refused);
    else if (refused === undefined && turnedAway(this.#session)) {
      this.#rooms.counts.handshake('unused');
      this.#recordRefusal('tls.client-refused', byQuit ? 'quit' : 'closed');
    }
    // Never destroyed here: replies may wait for a host that sends no more but still reads.
    if (this.#out.length > 0) this.#flush();
    else this.#endSocket();
    this.#lines.takeRest();
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #endSocket(): void {
    if (this.#mayHangUp && this.#socket.hangUp) this.#socket.hangUp();
    else this.#socket.end();
  }

  #recordRefusal(why: Class, reason?: string): void {
    const { helo, esmtp } = this.#session;
    const tookMs = this.#rooms.clock.monotonicMs() - this.#startMs;
    this.#rooms.ledger.record(
      refusedArrival(this.#origin, this.#atMs, helo, esmtp, why, tookMs, reason, this.#far?.last),
    );
  }

  #leave(): void {
    if (this.#gone) return;
    this.#step({ kind: 'gone' });
    this.#gone = true;
    this.#socket.destroy();
    this.#closeFar();
    this.#onEnd(this);
  }
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}
