/**
 * What is left of a text when words, links and order change: the words themselves, as a sketch of fixed length of which
 * two texts share as many numbers as they share words (MinHash with one permutation), and what such mail is for.
 */
import { SKETCH_LENGTH } from '../ledger/inquiry.ts';

const MAX_CHARACTERS = 32 * 1024;
const MAX_WORDS = 2000;
/** Of fewer words every second "thanks, see you tomorrow" would be alike. */
const MIN_WORDS = 20;

/** Empty when there is too little text. `more` counts like words. */
export function sketchOf(text: string, more: readonly string[]): number[] {
  const words = new Set<string>(more);
  // Short words stand in every text.
  for (const [word] of text
    .slice(0, MAX_CHARACTERS)
    .toLowerCase()
    .matchAll(/[\p{L}]{4,24}/gu)) {
    words.add(word);
    if (words.size >= MAX_WORDS) break;
  }
  if (words.size < MIN_WORDS) return [];
  const least = new Array<number>(SKETCH_LENGTH).fill(-1);
  for (const word of words) {
    const hash = hashOf(word);
    const place = hash % SKETCH_LENGTH;
    const value = Math.floor(hash / SKETCH_LENGTH);
    const before = least[place] as number;
    if (before < 0 || value < before) least[place] = value;
  }
  return filled(least);
}

/** A place without a word takes the number of the next that has one, so that two sketches do so alike. */
function filled(least: readonly number[]): number[] {
  return least.map((value, place) => {
    if (value >= 0) return value;
    for (let step = 1; step < least.length; step++) {
      const next = least[(place + step) % least.length] as number;
      // Moved, so that it is told from that place's own.
      if (next >= 0) return (next + step * 0x9e37) % 2 ** 31;
    }
    return value;
  });
}

/** FNV-1a with a last mix: its low bits alone are not even enough. */
function hashOf(word: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
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
