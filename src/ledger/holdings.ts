/**
 * What one worker holds of each source's connections, and what the keeper believes it holds.
 *
 * The two differ while the keeper is away and while an answer is late; `settle` says what to tell the keeper so that
 * they agree again.
 */
export class Holdings {
  readonly #held = new Map<string, number>();
  readonly #told = new Map<string, number>();

  held(source: string): number {
    return this.#held.get(source) ?? 0;
  }

  /** A connection of this source was let in here. */
  take(source: string): void {
    add(this.#held, source, 1);
  }

  /** One ended; never below zero. */
  drop(source: string): void {
    if (this.held(source) > 0) add(this.#held, source, -1);
  }

  /** The keeper counts one more for us. */
  told(source: string, count: number): void {
    add(this.#told, source, count);
  }

  /** How many the keeper counts too many for us (above zero) or too few (below). */
  surplus(source: string): number {
    return (this.#told.get(source) ?? 0) - this.held(source);
  }

  /** The keeper has forgotten us: it counts nothing until told again. Returns all that is held. */
  forgotten(): readonly { readonly source: string; readonly count: number }[] {
    this.#told.clear();
    return Array.from(this.#held, ([source, count]) => ({ source, count }));
  }
}

function add(map: Map<string, number>, key: string, count: number): void {
  const sum = (map.get(key) ?? 0) + count;
  if (sum === 0) map.delete(key);
  else map.set(key, sum);
}
