/**
 * What is left of a text when words, links and order change: the words themselves, as a sketch of fixed length of which
 * two texts share as many numbers as they share words (MinHash with one permutation), and what such mail is for.
 */
import { SKETCH_LENGTH } from '../ledger/inquiry.ts';

const MAX_CHARACTERS = 32 * 1024;
/** Of fewer words every second "thanks, see you tomorrow" would be alike. */
const MIN_WORDS = 20;
/** Short words stand in every text. */
const MIN_LENGTH = 4;
const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
/** Enough to tell words apart, and short where it is sent. */
const VALUE_BITS = 0xffffff;

/** Empty when there is too little text. `more` counts like words. */
export function sketchOf(text: string, more: readonly string[]): number[] {
  const least = new Sketch();
  for (const word of more) least.add(hashOf(word));
  const lower = text.slice(0, MAX_CHARACTERS).toLowerCase();
  let hash = FNV_BASIS;
  let length = 0;
  for (let at = 0; at <= lower.length; at++) {
    const code = lower.charCodeAt(at);
    // Beyond ASCII nearly all that stands in a text is a letter. Behind the end there is none.
    if ((code >= 97 && code <= 122) || code >= 128) {
      hash = Math.imul(hash ^ code, FNV_PRIME);
      length++;
    } else if (length > 0) {
      if (length >= MIN_LENGTH) least.add(hash);
      hash = FNV_BASIS;
      length = 0;
    }
  }
  return least.words < MIN_WORDS ? [] : least.filled();
}

/** The least number of each place, of all words that fall to it: a word that stands there twice changes nothing. */
class Sketch {
  readonly #least = new Array<number>(SKETCH_LENGTH).fill(-1);
  readonly #first = new Set<number>();

  /** Different ones so far, as far as they matter. */
  get words(): number {
    return this.#first.size;
  }

  add(raw: number): void {
    // FNV's low bits alone are not even enough.
    let hash = Math.imul(raw ^ (raw >>> 16), 0x45d9f3b);
    hash = (hash ^ (hash >>> 16)) >>> 0;
    if (this.#first.size < MIN_WORDS) this.#first.add(hash);
    const place = hash % SKETCH_LENGTH;
    const value = Math.floor(hash / SKETCH_LENGTH) & VALUE_BITS;
    const before = this.#least[place] as number;
    if (before < 0 || value < before) this.#least[place] = value;
  }

  /** A place without a word takes the number of the next that has one, so that two sketches do so alike. */
  filled(): number[] {
    const least = this.#least;
    return least.map((value, place) => {
      if (value >= 0) return value;
      for (let step = 1; step < least.length; step++) {
        const next = least[(place + step) % least.length] as number;
        // Moved, so that it is told from that place's own.
        if (next >= 0) return (next + step * 0x9e37) & VALUE_BITS;
      }
      return value;
    });
  }
}

function hashOf(word: string): number {
  let hash = FNV_BASIS;
  for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), FNV_PRIME);
  return hash;
}

const WALLET =
  /\b(?:bc1[a-z0-9]{25,62}|[13][a-km-zA-HJ-NP-Z1-9]{25,34}|0x[0-9a-fA-F]{40}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93})\b/g;
const PHONE = /\+?\d[\d ()/.-]{7,18}\d/g;
const MAX_FOUND = 20;

/** Addresses of Bitcoin, Ethereum, Monero. */
export function walletsIn(text: string): string[] {
  const found = [...text.slice(0, MAX_CHARACTERS).matchAll(WALLET)].map(([wallet]) => wallet);
  return [...new Set(found)].slice(0, MAX_FOUND);
}

/** Their digits alone, without what may stand before a national number. */
export function phonesIn(text: string): string[] {
  const found = [...text.slice(0, MAX_CHARACTERS).matchAll(PHONE)].map(([phone]) => phone.replace(/\D/g, '').slice(-9));
  return [...new Set(found.filter(({ length }) => length === 9))].slice(0, MAX_FOUND);
}

/** Host names of addresses, lower case. */
export function hostsIn(urls: readonly string[]): string[] {
  const hosts = new Set<string>();
  for (const url of urls) {
    const [, host = ''] = /^(?:[a-z]{2,10}:)?(?:\/\/)?(?:[^/?#@]{0,200}@)?([^/?#:@]{1,253})/i.exec(url) ?? [];
    if (host.includes('.')) hosts.add(host.toLowerCase().replace(/\.$/, ''));
  }
  return [...hosts];
}
