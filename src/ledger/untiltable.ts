/** What a worker knows for a time: told by the keeper, kept while the keeper is away. */
export class UntilTable {
  #until = new Map<string, number>();

  /** `isWhole`: these are all there are. `until` 0: no longer. */
  told(entries: readonly (readonly [key: string, until: number])[], isWhole: boolean): void {
    if (isWhole) this.#until = new Map();
    for (const [key, until] of entries) {
      if (until === 0) this.#until.delete(key);
      else this.#until.set(key, until);
    }
  }

  has(key: string, nowMs: number): boolean {
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (until > nowMs) return true;
    this.#until.delete(key);
    return false;
  }
}
