/**
 * The keeper's last question before it refuses: who holds something of this source that he does not use?
 *
 * Workers keep what they were admitted for a source for half a minute after its connections have ended. When a source
 * is at its limit, all workers are asked to give such back, and the answer waits for theirs, at most 100 ms. A worker that
 * was asked keeps nothing of the source for a while, so that for a second nobody needs to be asked again: a source that
 * tries against its limit without end costs one recall a second.
 */
import type { Peer } from '../kit/channel.ts';
import { type FromKeeper, MAX_BATCH } from './language.ts';

/** well within the time that a worker waits for its answer */
export const RECALL_TIMEOUT_MS = 100;
/** shorter than workers keep nothing, TIGHT_MS in admitter.ts */
const KNOWN_MS = 1_000;

/** `attempt`: counts it if there is room. */
type Waiting = { readonly peer: Peer; readonly attempt: () => boolean; readonly answer: (ok: boolean) => void };
type Round = {
  readonly recall: number;
  /** by source, in the order asked; undefined: all sources, and nobody waits for one of them */
  readonly asks: Map<string, Waiting[]> | undefined;
  readonly awaited: Set<Peer>;
  readonly done: () => void;
  complete: boolean;
  timer: NodeJS.Timeout | undefined;
};

export class Recalls {
  readonly #of: 'connections' | 'limits';
  readonly #workers: () => Iterable<Peer>;
  readonly #rounds = new Map<number, Round>();
  readonly #bySource = new Map<string, Round>();
  /** sources of which no worker holds anything unused */
  #tight = new Set<string>();
  /** what one turn of the loop asks for, to be sent at its end */
  #next: Round | undefined;
  #last = 0;

  constructor(of: 'connections' | 'limits', workers: () => Iterable<Peer>) {
    this.#of = of;
    this.#workers = workers;
  }

  /** Something of `source` for this worker? Answers at once, or within 100 ms when others may hold it unused. */
  admit(peer: Peer, source: string, attempt: () => boolean, answer: (ok: boolean) => void): void {
    let round = this.#bySource.get(source);
    if (!round) {
      if (attempt()) return answer(true);
      if (this.#tight.has(source)) return answer(false);
      round = this.#gather();
      this.#bySource.set(source, round);
      round.asks?.set(source, []);
    }
    round.asks?.get(source)?.push({ peer, attempt, answer });
  }

  /** Resolves when all workers have given back all that they do not use, at the latest after 100 ms. */
  all(): Promise<void> {
    return new Promise((resolve) => this.#start(this.#newRound(undefined, resolve)));
  }

  /** No worker holds anything of it, and will not for a while. */
  isTight(source: string): boolean {
    return this.#tight.has(source);
  }

  /** This worker has given back what it did not use. */
  returned(peer: Peer, recall: number): void {
    const round = this.#rounds.get(recall);
    if (!round?.awaited.delete(peer)) return;
    this.#serve(round);
    if (round.awaited.size === 0) this.#finish(round);
  }

  /** A worker that has just come was asked nothing yet. */
  joined(): void {
    this.#tight = new Set();
    for (const round of this.#rounds.values()) round.complete = false;
  }

  left(peer: Peer): void {
    for (const round of [...this.#rounds.values(), ...(this.#next ? [this.#next] : [])]) {
      for (const [source, list] of round.asks ?? [])
        round.asks?.set(
          source,
          list.filter((one) => one.peer !== peer),
        );
      this.returned(peer, round.recall);
    }
  }

  #newRound(asks: Round['asks'], done: () => void): Round {
    return { recall: ++this.#last, asks, awaited: new Set(), done, complete: true, timer: undefined };
  }

  #gather(): Round {
    if (this.#next && (this.#next.asks?.size ?? 0) < MAX_BATCH) return this.#next;
    const round = this.#newRound(new Map(), () => {});
    this.#next = round;
    queueMicrotask(() => {
      if (this.#next === round) this.#next = undefined;
      this.#start(round);
    });
    return round;
  }

  #start(round: Round): void {
    this.#rounds.set(round.recall, round);
    const message: FromKeeper = {
      kind: 'recall',
      of: this.#of,
      recall: round.recall,
      ...(round.asks && { sources: [...round.asks.keys()] }),
    };
    for (const peer of this.#workers()) {
      if (peer.send(message)) round.awaited.add(peer);
      else round.complete = false;
    }
    if (round.awaited.size === 0) return this.#finish(round);
    round.timer = setTimeout(() => {
      round.complete = false;
      this.#finish(round);
    }, RECALL_TIMEOUT_MS);
  }

  /** Those that asked first, as far as there is room. */
  #serve({ asks }: Round): void {
    for (const [source, list] of asks ?? []) {
      const rest = list.filter(({ attempt, answer }) => {
        const isServed = attempt();
        if (isServed) answer(true);
        return !isServed;
      });
      asks?.set(source, rest);
    }
  }

  #finish(round: Round): void {
    clearTimeout(round.timer);
    this.#rounds.delete(round.recall);
    this.#serve(round);
    for (const [source, list] of round.asks ?? []) {
      this.#bySource.delete(source);
      for (const { answer } of list) answer(false);
      if (round.complete) this.#tight.add(source);
    }
    if (round.complete && round.asks) {
      const { asks } = round;
      setTimeout(() => {
        for (const source of asks.keys()) this.#tight.delete(source);
      }, KNOWN_MS).unref();
    }
    round.done();
  }
}
