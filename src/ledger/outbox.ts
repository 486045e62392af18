/**
 * Events on their way from a worker to the keeper: batched, bounded, and counted when there is no room.
 *
 * Counts of sessions are merged while they wait, so that they are never lost and never take a place.
 */
import {
  type Attempt,
  fit,
  fitCounts,
  type RelayCounts,
  type SessionCounts,
  weigh,
  type WorkerEvent,
} from '../record/events.ts';

export const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
const BATCH_EVENTS = 500;
/** JSON can make six octets of one character: half a MiB of text stays under a line's 4 MiB in any case */
const BATCH_BYTES = 512 * 1024;

export class Outbox {
  readonly #waiting: { readonly event: Attempt; readonly bytes: number }[] = [];
  #bytes = 0;
  #counts: SessionCounts | undefined;
  #dropped = 0;

  /** Attempts that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  get isFull(): boolean {
    return this.#waiting.length >= BATCH_EVENTS;
  }

  put(event: WorkerEvent): void {
    if (event.kind === 'sessions') {
      const counts = fitCounts(event);
      this.#counts = this.#counts ? merge(this.#counts, counts) : counts;
      return;
    }
    const small = fit(event);
    const bytes = weigh(small);
    if (this.#waiting.length >= MAX_WAITING || this.#bytes + bytes > MAX_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    this.#waiting.push({ event: small, bytes });
    this.#bytes += bytes;
  }

  /** Sends batch by batch while `send` takes them; what it does not take waits on. */
  flush(send: (batch: readonly WorkerEvent[]) => boolean): void {
    while (this.#waiting.length > 0 || this.#counts) {
      let count = 0;
      let bytes = 0;
      for (const one of this.#waiting) {
        if (count === BATCH_EVENTS || (count > 0 && bytes + one.bytes > BATCH_BYTES)) break;
        count++;
        bytes += one.bytes;
      }
      const batch: WorkerEvent[] = this.#waiting.slice(0, count).map(({ event }) => event);
      if (this.#counts) batch.push({ ...this.#counts, dropped: this.#counts.dropped + this.#dropped });
      if (!send(batch)) return;
      this.#waiting.splice(0, count);
      this.#bytes -= bytes;
      if (this.#counts) {
        this.#counts = undefined;
        this.#dropped = 0;
      }
    }
  }
}

function merge(older: SessionCounts, newer: SessionCounts): SessionCounts {
  const opened: Record<string, number> = { ...older.opened };
  for (const [network, count] of Object.entries(newer.opened)) opened[network] = (opened[network] ?? 0) + count;
  const relay = older.relay && newer.relay ? sum(older.relay, newer.relay) : (newer.relay ?? older.relay);
  return { ...newer, opened, ...(relay && { relay }), dropped: older.dropped + newer.dropped };
}

function sum(a: RelayCounts, b: RelayCounts): RelayCounts {
  return {
    faults: a.faults + b.faults,
    repeated: a.repeated + b.repeated,
    possibleDuplicates: a.possibleDuplicates + b.possibleDuplicates,
  };
}
