/**
 * A connection that is carried end to end, unread: of a host that did not accept our certificate for the server that it
 * called, and calls that server again (verifying = "pass").
 *
 * What is known of it is its ends, its octets and its time, and these are bounded: connections at once and in a period,
 * octets in a period, and the host's lock. Only TLS is carried so: a message that begins in clear ends it.
 */
import type { FilterResult } from '../filter/run.ts';
import { opaqueLimitsOf } from '../identity/limits.ts';
import type { Arrival } from '../intercept/arrival.ts';
import { newId } from '../kit/ids.ts';
import { endText } from '../kit/sockaddr.ts';
import type { ByteSocket } from '../kit/tcp.ts';
import { opaqueOf } from '../ledger/admission.ts';
import type { Taken } from '../ledger/client.ts';
import type { Class } from '../policy/classes.ts';
import { decideRecipient } from '../policy/decide.ts';
import { refusal } from '../smtp/reply.ts';
import type { Refusal } from '../smtp/session.ts';
import { ClearWatch } from '../wire/clear-watch.ts';
import { isTaken, needsOf } from './counting.ts';
import { isExcused } from './excused.ts';
import { limitRefusal } from './over.ts';
import { factorOf, LINGER_MS } from './patience.ts';
import type { Rooms } from './rooms.ts';
import { lockText } from './way.ts';
import { type Origin, refusedArrival, type Whose } from './work.ts';

/** Octets are asked for when so many have been carried without. */
const UNPAID_BYTES = 64 * 1024;

export class Passage {
  readonly id: string;
  readonly #rooms: Rooms;
  readonly #host: ByteSocket;
  readonly #arrival: Arrival;
  readonly #onEnd: () => void;
  readonly #atMs: number;
  readonly #startMs: number;
  readonly #limits: ReturnType<typeof opaqueLimitsOf>;
  readonly #watch = new ClearWatch();
  readonly #calling = new AbortController();
  #origin: Origin;
  #far: ByteSocket | undefined;
  #isAdmitted = false;
  #bytes = 0;
  #unpaidBytes = 0;
  #isPaying = false;
  #lastMs: number;
  #wouldBe: Class | undefined;
  /** recorded: nothing more is carried */
  #isOver = false;
  #isHostGone = false;
  #isFarGone = false;

  constructor(rooms: Rooms, socket: ByteSocket, arrival: Arrival, whose: Whose, onEnd: () => void) {
    this.#rooms = rooms;
    this.#host = socket;
    this.#arrival = arrival;
    this.#onEnd = onEnd;
    this.#atMs = rooms.clock.nowMs();
    this.#startMs = rooms.clock.monotonicMs();
    this.#lastMs = this.#startMs;
    this.id = newId(this.#atMs);
    this.#limits = opaqueLimitsOf(whose.network);
    this.#origin = {
      ...{ ...whose, session: this.id, worker: rooms.worker, arrival },
      ...{ isEarly: false, found: undefined, tls: undefined },
    };
    socket.on('error', this.#onBroken);
    socket.on('close', () => {
      this.#isHostGone = true;
      this.#onClosed();
    });
    // What it says waits in the kernel until there is somebody to say it to.
    socket.pause();
  }

  /** The refusal that stands in place of the banner, or the server's banner. `overLimit` is what mode "observe" lets pass. */
  open(refuse: Refusal | undefined, overLimit: Class | undefined, found?: FilterResult): void {
    if (found) this.#origin = { ...this.#origin, found };
    this.#wouldBe = overLimit;
    if (this.#isOver) return;
    if (refuse) this.#refuse(refuse);
    else void this.#carry();
  }

  /** Nobody here knows whether a message is under way. */
  get isBusy(): boolean {
    return !this.#isOver;
  }

  stop(why: Class): void {
    this.#cut(why);
  }

  cut(): void {
    this.#cut('session.shutdown');
  }

  /** Called about every 250 ms. */
  checkDeadlines(nowMs: number, pressed: boolean): void {
    const { limits, tls } = this.#rooms.config;
    const factor = factorOf(pressed);
    const idleMs = nowMs - this.#lastMs;
    if (this.#isOver) {
      if (idleMs > LINGER_MS) this.#destroy();
    } else if (idleMs > limits.dataTimeout * factor || nowMs - this.#startMs > tls.opaqueTimeout * factor) {
      this.#cut('limit.time');
    } else if (this.#far) {
      const locked = this.#lockRefusal();
      if (locked) this.#cut(locked.class);
    }
  }

  async #carry(): Promise<void> {
    const refuse = this.#lockRefusal() ?? (await this.#overLimit());
    if (this.#isOver) return this.#release();
    if (refuse) return this.#refuse(refuse);
    const { destination: address, destinationPort: port, source } = this.#arrival;
    const { farCall, config, counts } = this.#rooms;
    const isOwn = this.#origin.network.egress === 'preserve';
    const timer = setTimeout(() => this.#calling.abort(new Error('timeout')), config.preserve.connectTimeout);
    try {
      const far = await farCall(isOwn ? source : undefined, { address, port }, this.#calling.signal);
      // The host has gone in the turn in which this connection stood.
      if (this.#isHostGone) return void far.destroy();
      counts.opaque++;
      this.#far = far;
      this.#join(far);
    } catch {
      this.#refuse({ class: this.#calling.signal.aborted ? 'upstream.timeout' : 'upstream.down' });
    } finally {
      clearTimeout(timer);
    }
  }

  #join(far: ByteSocket): void {
    const host = this.#host;
    this.#lastMs = this.#rooms.clock.monotonicMs();
    far.on('error', this.#onBroken);
    far.on('close', () => {
      this.#rooms.counts.opaque--;
      this.#isFarGone = true;
      this.#onClosed();
    });
    this.#pipe(host, far, (chunk) => this.#watch.fromHost(chunk));
    this.#pipe(far, host, (chunk) => {
      this.#watch.fromServer(chunk);
      return false;
    });
    this.#flow();
  }

  #pipe(from: ByteSocket, to: ByteSocket, isRefused: (chunk: Buffer) => boolean): void {
    from.on('data', (chunk) => {
      if (this.#isOver) return;
      if (isRefused(chunk)) return this.#refuse({ class: 'tls.clear' });
      this.#lastMs = this.#rooms.clock.monotonicMs();
      this.#bytes += chunk.length;
      this.#unpaidBytes += chunk.length;
      // The chunk was lent.
      to.write(Buffer.from(chunk));
      if (this.#unpaidBytes >= UNPAID_BYTES) this.#pay();
      this.#flow();
    });
    from.on('end', () => to.end());
    to.on('drain', () => this.#flow());
  }

  /** Each side is read while the other takes what it is given, and what was carried has been counted. */
  #flow(): void {
    const [host, far] = [this.#host, this.#far];
    if (!far || this.#isOver) return;
    for (const [from, to] of [
      [host, far],
      [far, host],
    ] as const) {
      const isHeld = this.#isPaying || to.writableNeedDrain;
      if (isHeld) from.pause();
      else if (from.isPaused()) from.resume();
    }
  }

  #pay(): void {
    const { bytes } = this.#limits;
    const unpaid = this.#unpaidBytes;
    if (this.#isPaying || unpaid === 0 || bytes.length === 0) return;
    this.#unpaidBytes = 0;
    const taken = this.#rooms.ledger.take(needsOf(this.#origin.subject, bytes, unpaid), 0);
    if (!(taken instanceof Promise)) return this.#paid(taken);
    this.#isPaying = true;
    void taken.then((then) => {
      this.#isPaying = false;
      this.#paid(then);
      this.#flow();
    });
  }

  #paid(taken: Taken): void {
    if (isTaken(taken)) return;
    const refuse = this.#unlessFree(limitRefusal(taken));
    if (refuse) this.#cut(refuse.class);
  }

  #lockRefusal(): Refusal | undefined {
    const { network, subject } = this.#origin;
    const lock = this.#rooms.ledger.lockOf(this.#arrival.source, { subject, tenant: network.tenant });
    if (!lock) return undefined;
    const { verdict, wouldBe } = decideRecipient(lock, network.mode);
    return this.#unlessFree({ class: wouldBe ?? verdict.class, ...lockText(this.#rooms) });
  }

  /** The refusal when as much is carried unread for this subscriber as may be. */
  async #overLimit(): Promise<Refusal | undefined> {
    const { subject, network } = this.#origin;
    const { ledger } = this.#rooms;
    const admission = await ledger.admit(opaqueOf(subject), network.opaqueConnections);
    this.#isAdmitted = admission === 'ok';
    const full = this.#isAdmitted
      ? undefined
      : this.#unlessFree({ class: admission === 'over' ? 'limit.opaque' : 'error.keeper' });
    if (full) return full;
    const { connection, bytes } = this.#limits;
    const needs = [...needsOf(subject, connection), ...needsOf(subject, bytes)];
    const taken = needs.length > 0 ? await ledger.take(needs, 0) : 'ok';
    return isTaken(taken) ? undefined : this.#unlessFree(limitRefusal(taken));
  }

  /** The refusal, but for whom an exception stands; mode "observe" lets it pass as well, and it is recorded. */
  #unlessFree(refuse: Refusal): Refusal | undefined {
    if (isExcused(this.#rooms, { origin: this.#origin, identity: undefined }, refuse.class)) return undefined;
    if (this.#origin.network.mode !== 'observe') return refuse;
    this.#wouldBe ??= refuse.class;
    return undefined;
  }

  /** Said in clear, where nothing else can have been said to the host but the server's clear text. */
  #refuse(refuse: Refusal): void {
    if (this.#isOver) return;
    const { clock, config } = this.#rooms;
    this.#finish(refuse.class);
    this.#lastMs = clock.monotonicMs();
    this.#far?.destroy();
    this.#host.write(refusal(refuse.class, this.id, config.gateway.helpUrl, { ...refuse, close: true }).bytes);
    this.#host.end();
    // Closing over what it said would reset the connection before our reply is read.
    this.#host.on('data', () => {});
    this.#host.resume();
  }

  #cut(why: Class): void {
    this.#finish(why);
    this.#destroy();
  }

  #destroy(): void {
    this.#calling.abort(new Error('over'));
    this.#host.destroy();
    this.#far?.destroy();
  }

  readonly #onBroken = (): void => this.#cut('tls.opaque');

  /** One of them is closed: what was said before is still on its way to the other. */
  #onClosed(): void {
    const far = this.#far;
    if (this.#isHostGone && (!far || this.#isFarGone)) {
      this.#cut(far ? 'tls.opaque' : 'session.gone');
      this.#release();
      this.#onEnd();
    } else if (this.#isHostGone) far?.end();
    else this.#host.end();
  }

  /** Once, when nothing more is carried. */
  #finish(why: Class): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pay();
    this.#record(why);
  }

  #release(): void {
    if (this.#isAdmitted) this.#rooms.ledger.release(opaqueOf(this.#origin.subject));
    this.#isAdmitted = false;
  }

  #record(why: Class): void {
    const { clock, ledger } = this.#rooms;
    // A host that went before anything was said to it has left no trace, as with any session.
    if (why === 'session.gone') return;
    const { destination: address, destinationPort: port } = this.#arrival;
    ledger.record({
      ...refusedArrival(this.#origin, this.#atMs, undefined, false, why, clock.monotonicMs() - this.#startMs),
      sizeBytes: this.#bytes,
      wouldBe: this.#wouldBe,
      upstream: this.#far && endText({ address, port }),
    });
  }
}
