/**
 * What one worker holds of each source's connections, and what the keeper counts for it: its credit.
 *
 * Credit outlives the connection that it was asked for, so that the next one of the source needs no question; what has
 * not been needed for a whole period goes back. Credit is less than what is held while the keeper is away or late.
 */
import type { Counted } from './language.ts';

type Entry = {
  held: number;
  credit: number;
  /** the least that was unused since the last `sweep` */
  low: number;
};

export class Holdings {
  readonly #bySource = new Map<string, Entry>();
  /** those of which something is unused, or was since the last `sweep` */
  readonly #spare = new Set<string>();

  held(source: string): number {
    return this.#bySource.get(source)?.held ?? 0;
  }

  /** When something is unused of more sources than this: takes back what is so of the one that has been among them longest. */
  takeBeyond(most: number): Counted[] {
    if (this.#spare.size <= most) return [];
    const [longest] = this.#spare;
    if (longest === undefined) return [];
    this.#spare.delete(longest);
    return this.takeBack([longest]);
  }

  /** A connection of this source was let in here. */
  take(source: string): void {
    const entry = this.#entry(source);
    entry.held++;
    entry.low = Math.min(entry.low, entry.credit - entry.held);
  }

  /** The same, if there is credit for it. */
  takeUnused(source: string): boolean {
    const entry = this.#bySource.get(source);
    if (!entry || entry.credit <= entry.held) return false;
    entry.held++;
    entry.low = Math.min(entry.low, entry.credit - entry.held);
    return true;
  }

  /** One ended; never below zero. */
  drop(source: string): void {
    const entry = this.#bySource.get(source);
    if (!entry || entry.held === 0) return;
    entry.held--;
    this.#settle(source, entry);
  }

  /** The keeper counts so many more for us, or fewer. */
  told(source: string, count: number): void {
    const entry = this.#entry(source);
    entry.credit += count;
    this.#settle(source, entry);
  }

  /** How many the keeper counts that are not held (above zero), or held that it does not count (below). */
  unused(source: string): number {
    const entry = this.#bySource.get(source);
    return entry ? entry.credit - entry.held : 0;
  }

  /** Takes what is unused of these sources, or of all, out of the credit: to be given back. */
  takeBack(sources: Iterable<string> = [...this.#spare]): Counted[] {
    return this.#reduce(sources, (entry) => entry.credit - entry.held);
  }

  /** The same for what has been unused since the call before, all of the time. */
  sweep(): Counted[] {
    const back = this.#reduce([...this.#spare], (entry) => entry.low);
    for (const source of this.#spare) {
      const entry = this.#bySource.get(source);
      if (entry && entry.credit > entry.held) entry.low = entry.credit - entry.held;
      else this.#spare.delete(source);
    }
    return back;
  }

  /** The keeper has forgotten us: it counts nothing until told again. Returns all that is held. */
  forgotten(): readonly Counted[] {
    this.#spare.clear();
    for (const [source, entry] of this.#bySource) {
      entry.credit = 0;
      this.#settle(source, entry);
    }
    return Array.from(this.#bySource, ([source, { held }]) => ({ source, count: held }));
  }

  #reduce(sources: Iterable<string>, by: (entry: Entry) => number): Counted[] {
    const back: Counted[] = [];
    for (const source of sources) {
      const entry = this.#bySource.get(source);
      const count = entry ? by(entry) : 0;
      if (!entry || count <= 0) continue;
      entry.credit -= count;
      entry.low = Math.min(entry.low, entry.credit - entry.held);
      back.push({ source, count });
      this.#settle(source, entry);
    }
    return back;
  }

  #entry(source: string): Entry {
    let entry = this.#bySource.get(source);
    if (!entry) this.#bySource.set(source, (entry = { held: 0, credit: 0, low: 0 }));
    return entry;
  }

  #settle(source: string, entry: Entry): void {
    if (entry.held === 0 && entry.credit === 0) this.#bySource.delete(source);
    else if (entry.credit > entry.held && !this.#spare.has(source)) {
      this.#spare.add(source);
      entry.low = 0;
    }
  }
}
