/**
 * Who it is behind a subscriber: the first rule that finds something. What was sent stays as it was sent.
 *
 * Anybody who may write a header can name whom he likes in it, so an identity counts beside its subscriber and never in the
 * place of it.
 */
import type { IdentityRule } from '../config/identity-rule.ts';

/** What a message shows of who sent it. */
export type Evidence = {
  /** of the envelope, with its angle brackets */
  readonly sender: string;
  readonly helo: string;
  /** names in lower case; undefined where the message is not to be looked into */
  readonly fields: (() => readonly { readonly name: string; readonly value: string }[]) | undefined;
};

const MAX_IDENTITY = 128;
/** A value that is longer names nobody. */
const MAX_VALUE = 4096;

/** At most 128 characters without controls; undefined when no rule finds one. */
export function identityOf(rules: readonly IdentityRule[], evidence: Evidence): string | undefined {
  for (const rule of rules) {
    const found = find(rule, evidence);
    if (found !== undefined) return found;
  }
  return undefined;
}

function find(rule: IdentityRule, { sender, helo, fields }: Evidence): string | undefined {
  if (rule.kind !== 'header') {
    if (rule.kind === 'helo') return plain(helo.toLowerCase());
    // A bounce is from nobody.
    return sender === '<>' ? undefined : plain(sender.slice(1, -1).toLowerCase());
  }
  for (const { name, value } of fields?.() ?? []) {
    if (name !== rule.name || value.length > MAX_VALUE) continue;
    const found = plain(rule.pattern ? (rule.pattern.capture(value.trim()) ?? '') : value);
    if (found !== undefined) return found;
  }
  return undefined;
}

function plain(text: string): string | undefined {
  const shown = text
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, MAX_IDENTITY);
  return shown === '' ? undefined : shown;
}
