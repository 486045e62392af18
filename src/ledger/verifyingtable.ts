/** What a worker knows of hosts that verify: told by the keeper, kept while the keeper is away. */
import type { VerifyingTold } from './language.ts';

export class VerifyingTable {
  #until = new Map<string, number>();

  /** `isWhole`: these are all there are. */
  told(pairs: readonly VerifyingTold[], isWhole: boolean): void {
    if (isWhole) this.#until = new Map();
    for (const { subject, server, until } of pairs) {
      if (until === 0) this.#until.delete(`${subject} ${server}`);
      else this.#until.set(`${subject} ${server}`, until);
    }
  }

  /** Has this subscriber refused our certificate for this server, not too long ago? */
  has(subject: string, server: string, nowMs: number): boolean {
    if (this.#until.size === 0) return false;
    const key = `${subject} ${server}`;
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (until > nowMs) return true;
    this.#until.delete(key);
    return false;
  }
}
