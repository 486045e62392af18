/**
 * Another release of iptables may print a rule in other words than it was given. So that this is not taken for a change
 * and repaired for ever, what a chain looks like right after we have filled it is learned, and holds from then on.
 */
export class Spelling {
  readonly #learned = new Map<string, { readonly given: string; readonly printed: string }>();

  /** Are the printed rules what the given ones become? */
  same(place: string, given: readonly string[], printed: readonly string[]): boolean {
    const [a, b] = [given.join('\n'), printed.join('\n')];
    if (a === b) return true;
    const learned = this.#learned.get(place);
    return learned?.given === a && learned.printed === b;
  }

  /** To be called with what was read directly after the rules had been given. Other than their number is not spelling. */
  learn(place: string, given: readonly string[], printed: readonly string[]): void {
    if (given.length !== printed.length || this.same(place, given, printed)) return;
    this.#learned.set(place, { given: given.join('\n'), printed: printed.join('\n') });
  }
}
