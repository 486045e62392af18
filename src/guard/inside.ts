/**
 * Are the interfaces of intercept.inside there? Rules name an interface whether it exists or not: one with a slip in its
 * name intercepts nothing, and nothing in the rules looks wrong.
 */
import { readFileSync } from 'node:fs';
import type { Log } from '../kit/log.ts';
import { type KernelReport, MAX_INSIDE } from '../ledger/language.ts';

/** The interfaces of this process's network namespace. Throws when the kernel does not say. */
export function interfacesHere(): ReadonlySet<string> {
  // Not /sys/class/net: that shows the namespace in which /sys was mounted. Two lines of heads, then `  NAME: counters`.
  const [, , ...lines] = readFileSync('/proc/self/net/dev', 'utf8').split('\n');
  return new Set(lines.filter((line) => line.includes(':')).map((line) => line.slice(0, line.indexOf(':')).trim()));
}

export class Inside {
  #names: readonly string[];
  readonly #log: Log;
  readonly #here: () => ReadonlySet<string>;
  /** as last logged */
  #present = new Map<string, boolean>();
  #lastError: string | undefined;

  constructor(names: readonly string[], log: Log, here: () => ReadonlySet<string> = interfacesHere) {
    this.#names = names;
    this.#log = log;
    this.#here = here;
  }

  replace(names: readonly string[]): void {
    this.#names = names;
  }

  /** Each of them, as it is now; logs what has changed since it was last asked. When it cannot be known, none. */
  look(): KernelReport['inside'] {
    let here: ReadonlySet<string>;
    try {
      here = this.#here();
      this.#lastError = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#lastError) this.#log.write('error', 'interface.unknown', { error: message });
      this.#lastError = message;
      return [];
    }
    const now = new Map(this.#names.map((name) => [name, here.has(name)]));
    for (const [name, present] of now) {
      // One that is there from the start is no news.
      if (present === (this.#present.get(name) ?? true)) continue;
      if (present) this.#log.write('info', 'interface.there', { interface: name });
      else
        this.#log.write('error', 'interface.missing', {
          interface: name,
          fix: 'mail that comes in elsewhere is neither intercepted nor refused: see intercept.inside and "ip link"',
        });
    }
    this.#present = now;
    return [...now].slice(0, MAX_INSIDE).map(([name, present]) => ({ interface: name, present }));
  }
}
