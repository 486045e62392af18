/** What is decided of a connection, a recipient or a message, and why. */
import { type Class, classes } from './classes.ts';

export type Verdict =
  | { readonly kind: 'accept'; readonly class: Class }
  | { readonly kind: 'defer'; readonly class: Class }
  | { readonly kind: 'reject'; readonly class: Class };

/** The verdict a class stands for: 2xx accept, 4xx defer, 5xx reject. */
export function verdictOf(of: Class): Verdict {
  const { code } = classes[of];
  return { kind: code < 400 ? 'accept' : code < 500 ? 'defer' : 'reject', class: of };
}
