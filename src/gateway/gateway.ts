/**
 * All connections of a worker: admits each, keeps its deadline, ends them when the worker ends.
 */
import type { Socket } from 'node:net';
import type { Network } from '../config/schema.ts';
import { type Sender, subjectOf } from '../identity/senders.ts';
import type { FilterResult } from '../filter/run.ts';
import type { Arrival } from '../intercept/arrival.ts';
import { endText } from '../kit/sockaddr.ts';
import type { ByteSocket } from '../kit/tcp.ts';
import type { Class } from '../policy/classes.ts';
import type { Rule } from '../policy/limits.ts';
import type { Refusal } from '../smtp/session.ts';
import { isTaken, needsOf } from './counting.ts';
import { isExcused } from './excused.ts';
import { Connection } from './driver.ts';
import { limitRefusal } from './over.ts';
import { Passage } from './passage.ts';
import type { Rooms } from './rooms.ts';
import { connectWay } from './way.ts';

const SWEEP_MS = 250;
/** After the drain: for the answer to what has been sent already. */
const LAST_ANSWER_MS = 2000;

/** A source that is in no network, or in one that is closed: the kernel refuses these, so this is the second gate. */
const NOWHERE = 'unrouted';

export class Gateway {
  readonly #rooms: Rooms;
  readonly #connections = new Set<Connection | Passage>();
  readonly #sweeper: NodeJS.Timeout;
  #whenIdle: (() => void) | undefined;

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  get open(): number {
    return this.#connections.size;
  }

  /** The guard asks whether this worker lives: a banner, no session, no record. */
  probe(socket: Socket): void {
    socket.on('error', () => {});
    socket.setTimeout(5000, () => socket.destroy());
    socket.end(`220 ${this.#rooms.config.gateway.name} alive\r\n`);
    socket.resume();
  }

  accept(socket: ByteSocket, arrival: Arrival): void {
    void this.#admit(socket, arrival);
  }

  /**
   * Ends the sessions that have no message under way, and each of the others after its message; at most `drainMs`, then
   * 421 to what is left. A message on its way to the far side gets its answer within 2 s more or is cut off: never a 250
   * that was not heard.
   */
  async drain(drainMs: number): Promise<void> {
    this.#rooms.draining = true;
    for (const connection of this.#connections) if (!connection.isBusy) connection.stop('session.shutdown');
    await this.#idleWithin(drainMs);
    for (const connection of this.#connections) connection.stop('session.shutdown');
    await this.#idleWithin(LAST_ANSWER_MS);
    for (const connection of this.#connections) connection.cut();
    clearInterval(this.#sweeper);
  }

  /** Resolves when no session has a message under way, or the time is over. */
  async #idleWithin(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      timer = setTimeout(resolve, ms);
      this.#checkIdle();
    });
    clearTimeout(timer);
    this.#whenIdle = undefined;
  }

  #checkIdle(): void {
    if (this.#whenIdle && ![...this.#connections].some((connection) => connection.isBusy)) this.#whenIdle();
  }

  async #admit(socket: ByteSocket, arrival: Arrival): Promise<void> {
    const rooms = this.#rooms;
    const found = rooms.senders.find(arrival.source);
    const sender = found ?? nowhere(rooms);
    const subject = subjectOf(sender, arrival.source);
    const network = stepped(rooms, sender, subject);
    const whose = { ...sender, network, subject };
    let admitted = false;
    const server = endText({ address: arrival.destination, port: arrival.destinationPort });
    const verifying = rooms.ledger.isVerifying(subject, server) ? network.verifying : 'intercept';
    const Guest = verifying === 'pass' ? Passage : Connection;
    const connection: Passage | Connection = new Guest(rooms, socket, arrival, whose, () => {
      this.#connections.delete(connection);
      rooms.counts.open--;
      if (admitted) rooms.ledger.release(subject);
      this.#checkIdle();
    });
    this.#connections.add(connection);
    rooms.counts.opened(network.name);

    const refuse = this.#refusal(found && network, connection instanceof Passage);
    if (refuse) return connection.open({ class: refuse }, undefined);
    const answer = await rooms.ledger.admit(subject, network.maxConnections);
    admitted = answer === 'ok';
    if (socket.destroyed) {
      if (admitted) rooms.ledger.release(subject);
      admitted = false;
      return;
    }
    const isFree = (of: Class): boolean => isExcused(rooms, { origin: { arrival }, identity: undefined }, of);
    const full: Class = answer === 'over' ? 'limit.connections' : 'error.keeper';
    const over: Class | undefined = answer === 'ok' || isFree(full) ? undefined : full;
    if (over !== undefined && network.mode !== 'observe') return connection.open({ class: over }, undefined);
    const rules = over === undefined ? whose.limits?.connection : undefined;
    const rate = rules && rules.length > 0 ? await this.#rateOf(subject, rules) : undefined;
    const limited = rate && !isFree(rate.class) ? rate : undefined;
    if (limited && network.mode !== 'observe') return connection.open(limited, undefined);
    const unwanted = verifying === 'refuse' && !isFree('tls.verifying') ? 'tls.verifying' : undefined;
    if (unwanted && network.mode !== 'observe') return connection.open({ class: unwanted }, undefined);
    const observed = over ?? limited?.class ?? unwanted;
    const call = (overLimit: Class | undefined, seen?: FilterResult): void => {
      if (connection instanceof Connection && network.egress === 'preserve') void connection.call(overLimit, seen);
      else connection.open(undefined, overLimit, seen);
    };
    if (rooms.filters.connect.length === 0) return call(observed);

    const { verdict, wouldBe, found: seen } = await connectWay(rooms, connection.id, arrival, whose);
    if (verdict.kind === 'accept') call(observed ?? wouldBe, seen);
    else connection.open({ class: verdict.class, as: verdict.kind }, observed ?? wouldBe, seen);
  }

  /** The refusal when this subscriber has opened too many connections in its period. */
  async #rateOf(subject: string, rules: readonly Rule[]): Promise<Refusal | undefined> {
    const taken = await this.#rooms.ledger.take(needsOf(subject, rules), 0);
    return isTaken(taken) ? undefined : limitRefusal(taken);
  }

  /** What stands in place of the banner, decided without asking anybody. */
  #refusal(network: Network | undefined, isPassage: boolean): Class | undefined {
    const rooms = this.#rooms;
    if (rooms.draining) return 'session.shutdown';
    if (rooms.descriptors.isFull) return 'limit.descriptors';
    if (!network) return 'network.none';
    if (network.mode === 'block') return 'network.block';
    if (network.mode === 'smarthost-only') return 'network.smarthost-only';
    if (isPassage) return undefined;
    if (network.egress === 'preserve') return rooms.tls.isReady ? undefined : 'error.certificate';
    const offers = rooms.relay.offers();
    if (!offers) return 'upstream.none-yet';
    return offers.startTls && !rooms.tls.isReady ? 'error.certificate' : undefined;
  }

  #sweep(): void {
    const nowMs = this.#rooms.clock.monotonicMs();
    const pressed = this.#rooms.descriptors.isPressed(this.#rooms.config.limits.pressure);
    for (const connection of this.#connections) connection.checkDeadlines(nowMs, pressed);
    this.#checkIdle();
  }
}

/** The settings with the mode of a step on the ladder, if there is one. */
function stepped({ ledger }: Rooms, { network, subscriber }: Sender, subject: string): Network {
  const whom = { subject, network: network.name, hasOwnMode: subscriber?.mode !== undefined };
  const mode = ledger.modeOf(whom) ?? network.mode;
  return mode === network.mode ? network : { ...network, mode };
}

function nowhere(rooms: Rooms): Sender {
  const first = rooms.config.network[0] as Network;
  return {
    network: { ...first, name: NOWHERE, prefixes: [], mode: 'enforce' },
    subscriber: undefined,
    limits: undefined,
  };
}
