/** How an identity is found, as it stands in the configuration: `sender`, `helo`, or `header NAME` with or without a pattern. */
import { Pattern } from '../kit/pattern.ts';

export type IdentityRule =
  | { readonly kind: 'sender' | 'helo'; readonly text: string }
  | {
      readonly kind: 'header';
      /** in lower case */
      readonly name: string;
      /** what is caught is the identity; without one the whole value is */
      readonly pattern: Pattern | undefined;
      readonly text: string;
    };

export const IDENTITY_TYPE =
  'an identity rule: "sender", "helo", "header NAME" or "header NAME PATTERN" with a pattern of RE2 that has at most one group';

/** The rule, or what was expected instead. */
export function parseIdentityRule(raw: unknown): IdentityRule | { readonly expected: string } {
  const text = typeof raw === 'string' ? raw : '';
  if (text === 'sender' || text === 'helo') return { kind: text, text };
  // RFC 5322 section 2.2: a field's name is printable ASCII without a colon.
  const [, name, source] = /^header ([\x21-\x39\x3b-\x7e]{1,100})(?: (.{1,1000}))?$/.exec(text) ?? [];
  if (name === undefined) return { expected: IDENTITY_TYPE };
  if (source === undefined) return { kind: 'header', name: name.toLowerCase(), pattern: undefined, text };
  const pattern = Pattern.compile(source);
  if (!(pattern instanceof Pattern)) return { expected: `${IDENTITY_TYPE}; this one: ${pattern.fault}` };
  if (pattern.groups > 1) return { expected: `${IDENTITY_TYPE}; this one has ${pattern.groups}` };
  return { kind: 'header', name: name.toLowerCase(), pattern, text };
}
