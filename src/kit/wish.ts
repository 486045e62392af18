/**
 * A change of the configuration that the panel asks for. The keeper may not write the file; it leaves a wish in its own
 * directory, and whoever may (the supervisor, or systemd's postern-apply.service) carries it out and says what came of it.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from './files.ts';
import { maybe, object, oneOf, type Shape, text, whole, yesNo } from './shape.ts';

export type Wish = {
  readonly id: string;
  readonly at: number;
  readonly what: 'apply' | 'confirmed' | 'back';
  /** the new configuration, and for how long it is on trial: of "apply" alone */
  readonly text?: string | undefined;
  readonly confirmMs?: number | undefined;
};

/** What came of a wish, in the words of `postern apply`. */
export type WishAnswer = { readonly id: string; readonly ok: boolean; readonly text: string };

export const MAX_WISH_TEXT = 1024 * 1024;
const MAX_WISH_BYTES = 8 * MAX_WISH_TEXT;

/** As kit/ids.ts makes them. */
const isId: Shape<string> = (raw): raw is string => typeof raw === 'string' && /^[0-9A-Z]{16}$/.test(raw);

const isWish: Shape<Wish> = object<Wish>({
  id: isId,
  at: whole(),
  what: oneOf('apply', 'confirmed', 'back'),
  text: maybe(text(MAX_WISH_TEXT)) as Shape<string>,
  confirmMs: maybe(whole()) as Shape<number>,
});
const isWishAnswer: Shape<WishAnswer> = object<WishAnswer>({ id: isId, ok: yesNo, text: text(100_000) });

const wishPath = (stateDir: string): string => join(stateDir, 'wish.json');

export function hasWish(stateDir: string): boolean {
  return existsSync(wishPath(stateDir));
}

export function writeWish(stateDir: string, wish: Wish): void {
  writeAtomically(wishPath(stateDir), JSON.stringify(wish));
}

/** Of one that could not be carried out: it is not tried again and again. */
export function dropWish(stateDir: string): void {
  rmSync(wishPath(stateDir), { force: true });
}

/** Takes the wish away, whatever it is. Undefined when it is none; no link is followed, since it is read as root. */
export function takeWish(stateDir: string): Wish | undefined {
  const path = wishPath(stateDir);
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile() || stat.size > MAX_WISH_BYTES) return undefined;
      const raw: unknown = JSON.parse(readFileSync(file, 'utf8'));
      return isWish(raw) ? raw : undefined;
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  } finally {
    dropWish(stateDir);
  }
}

/** The last one, if it can be read. */
export function wishAnswerOf(path: string): WishAnswer | undefined {
  try {
    const raw: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isWishAnswer(raw) ? raw : undefined;
  } catch {
    return undefined;
  }
}
