/**
 * When a host of each configured prefix was last seen to be intercepted: in state_dir/sightings.json, so that "never" means
 * never since the prefix was first configured. What a crash loses is at most what TEND_MS of the keeper has seen.
 */
import { readFileSync } from 'node:fs';
import type { Prefix } from '../kit/address.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { amount, listOf, object, text } from '../kit/shape.ts';

type Sighting = { readonly prefix: string; readonly at: number };

const isFile = object<{ readonly sightings: readonly Sighting[] }>({
  sightings: listOf(object<Sighting>({ prefix: text(64), at: amount }), 1_000_000),
});

export class Sightings {
  readonly #path: string;
  readonly #log: Log;
  #lastAt = new Map<string, number>();
  #prefixes = new PrefixMap<string>();
  #isUnwritten = false;
  #hasFailed = false;

  constructor(path: string, log: Log, prefixes: readonly Prefix[]) {
    this.#path = path;
    this.#log = log;
    this.#load();
    this.configure(prefixes);
  }

  /** What is configured no longer is forgotten. */
  configure(prefixes: readonly Prefix[]): void {
    this.#prefixes = new PrefixMap(prefixes.map((prefix) => [prefix, prefix.text]));
    const kept = new Set(prefixes.map(({ text: prefix }) => prefix));
    for (const prefix of this.#lastAt.keys()) if (!kept.has(prefix)) this.#lastAt.delete(prefix);
  }

  /** A host with this address was intercepted. */
  saw(source: string, atMs: number): void {
    const prefix = this.#prefixes.find(source);
    if (prefix === undefined || atMs <= (this.#lastAt.get(prefix) ?? 0)) return;
    this.#lastAt.set(prefix, atMs);
    this.#isUnwritten = true;
  }

  /** Undefined: never. */
  lastAt(prefix: string): number | undefined {
    return this.#lastAt.get(prefix);
  }

  /** If anything has changed. */
  write(): void {
    if (!this.#isUnwritten) return;
    const sightings = Array.from(this.#lastAt, ([prefix, at]) => ({ prefix, at }));
    try {
      writeAtomically(this.#path, `${JSON.stringify({ sightings })}\n`);
      this.#isUnwritten = false;
      this.#hasFailed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  #load(): void {
    try {
      const raw: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      if (!isFile(raw)) throw new Error('not a list of prefixes with times');
      this.#lastAt = new Map(raw.sightings.map(({ prefix, at }) => [prefix, at]));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    if (!this.#hasFailed) this.#log.write('error', 'sightings.not-kept', { path: this.#path, error: String(error) });
    this.#hasFailed = true;
  }
}
