/**
 * How many connections of each source the workers may have open: the exact count behind `max_connections`. What is open
 * is never more; it is less by what workers keep of a source for its next connection.
 *
 * Every count belongs to the worker's connection it was made on, so that a worker that dies takes its counts with it
 * and one that comes back declares what it holds. Bounded by what workers can hold open, since only an accepted
 * connection is counted.
 */
const OPAQUE = ' opaque';

/** Under which a source's connections that are carried unread are counted. No source has a blank in it. */
export function opaqueOf(source: string): string {
  return source + OPAQUE;
}

export class Admission {
  readonly #total = new Map<string, number>();
  readonly #byHolder = new Map<object, Map<string, number>>();

  /** What is carried unread is counted a second time, under `opaqueOf`: not here. */
  get connections(): number {
    let sum = 0;
    for (const [source, count] of this.#total) if (!source.endsWith(OPAQUE)) sum += count;
    return sum;
  }

  get sources(): number {
    let sum = 0;
    for (const source of this.#total.keys()) if (!source.endsWith(OPAQUE)) sum++;
    return sum;
  }

  /** One more of this source for this holder, if its total stays within `limit`. */
  admit(holder: object, source: string, limit: number): boolean {
    if ((this.#total.get(source) ?? 0) >= limit) return false;
    this.hold(holder, source, 1);
    return true;
  }

  /** Connections that are open already: counted whatever the limit says. */
  hold(holder: object, source: string, count: number): void {
    let own = this.#byHolder.get(holder);
    if (!own) this.#byHolder.set(holder, (own = new Map()));
    add(own, source, count);
    add(this.#total, source, count);
  }

  /** So many are given back. What this holder never had is ignored: no mistake of one worker takes from another. */
  release(holder: object, source: string, count: number): void {
    const own = this.#byHolder.get(holder);
    const most = Math.min(count, own?.get(source) ?? 0);
    if (!own || most <= 0) return;
    add(own, source, -most);
    add(this.#total, source, -most);
  }

  /** The holder's connection ended, and all its counts with it. */
  forget(holder: object): void {
    for (const [source, count] of this.#byHolder.get(holder) ?? []) add(this.#total, source, -count);
    this.#byHolder.delete(holder);
  }
}

function add(map: Map<string, number>, key: string, count: number): void {
  const sum = (map.get(key) ?? 0) + count;
  if (sum <= 0) map.delete(key);
  else map.set(key, sum);
}
