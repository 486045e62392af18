/**
 * Events on their way from a worker to the keeper: batched, bounded, and counted when there is no room.
 *
 * Each waits as the JSON that it is sent as: one string, where the event itself would be fifty things for the garbage
 * collector to look at. Counts of sessions are merged while they wait, so that they are never lost and never take a place.
 */
import { fit, fitCounts, type RelayCounts, type SessionCounts, type WorkerEvent } from '../record/events.ts';
import type { ToKeeper } from './language.ts';

export const MAX_WAITING = 10_000;
const MAX_WAITING_LENGTH = 32 * 1024 * 1024;
/** beyond it no copy of a message waits: a report is worth less than a record */
const MAX_LENGTH_FOR_COPIES = 8 * 1024 * 1024;
/** so many that wait are sent before it is time */
const FULL_EVENTS = 500;
/** what the keeper takes apart at once: few enough to stay in a processor's cache */
const BATCH_EVENTS = 100;
/** a character is at most three octets: it stays under a line's 4 MiB in any case; so does the largest event alone */
const BATCH_LENGTH = 1024 * 1024;

const HEAD: `{"kind":"${Extract<ToKeeper, { kind: 'events' }>['kind']}","batch":[` = '{"kind":"events","batch":[';

export class Outbox {
  readonly #waiting: string[] = [];
  #length = 0;
  #counts: SessionCounts | undefined;
  #dropped = 0;

  /** Attempts that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  /** So many have come that they are not to wait for the time; said once for each so many, also if they cannot be sent. */
  get isFull(): boolean {
    return this.#waiting.length > 0 && this.#waiting.length % FULL_EVENTS === 0;
  }

  put(event: WorkerEvent): void {
    if (event.kind === 'sessions') {
      const counts = fitCounts(event);
      this.#counts = this.#counts ? merge(this.#counts, counts) : counts;
      return;
    }
    const text = JSON.stringify(event.kind === 'copy' ? event : fit(event));
    if (event.kind === 'copy' && this.#length + text.length > MAX_LENGTH_FOR_COPIES) return;
    if (this.#waiting.length >= MAX_WAITING || this.#length + text.length > MAX_WAITING_LENGTH) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(text);
    this.#length += text.length;
  }

  /** Sends message by message, each as its JSON, while `send` takes them; what it does not take waits on. */
  flush(send: (json: string) => boolean): void {
    let sent = 0;
    while (sent < this.#waiting.length || this.#counts) {
      let count = 0;
      let length = 0;
      for (let at = sent; at < this.#waiting.length; at++) {
        const next = (this.#waiting[at] as string).length;
        if (count === BATCH_EVENTS || (count > 0 && length + next > BATCH_LENGTH)) break;
        count++;
        length += next;
      }
      const batch = this.#waiting.slice(sent, sent + count);
      if (this.#counts) batch.push(JSON.stringify({ ...this.#counts, dropped: this.#counts.dropped + this.#dropped }));
      if (!send(`${HEAD}${batch.join(',')}]}`)) break;
      sent += count;
      this.#length -= length;
      if (this.#counts) {
        this.#counts = undefined;
        this.#dropped = 0;
      }
    }
    this.#waiting.splice(0, sent);
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
