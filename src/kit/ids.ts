import { hash, randomBytes } from 'node:crypto';

// Crockford's base 32: no I, L, O, U, so that an id survives being read out over the telephone.
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

const POOL_BYTES = 7 * 1024;
let pool = Buffer.alloc(0);
let at = 0;
/** the first characters of an id, and the time that they say */
let time = '';
let timeMs = Number.NaN;

/**
 * An id of 16 characters: 9 of time (milliseconds, so ids sort by age until the year 3084) and 7 random.
 * Unique for all practical purposes across the workers of a machine; it appears in replies, log, journal and Received.
 */
export function newId(nowMs: number): string {
  if (nowMs !== timeMs) {
    time = '';
    for (let rest = nowMs, i = 0; i < 9; i++) {
      time = (ALPHABET[rest % 32] as string) + time;
      rest = Math.floor(rest / 32);
    }
    timeMs = nowMs;
  }
  let text = time;
  if (at + 7 > pool.length) {
    pool = randomBytes(POOL_BYTES);
    at = 0;
  }
  for (let i = 0; i < 7; i++) text += ALPHABET[(pool[at++] as number) & 31];
  return text;
}

/** 16 characters that stand for a text: the same for the same, and nothing of it to be read. */
export function shortHash(text: string): string {
  return hash('sha256', text, 'base64url').slice(0, 16);
}
