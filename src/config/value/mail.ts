/** Addresses of mail, who is behind it, and classes. */
import { classes } from '../../policy/classes.ts';
import { COMPLAINT_CLASSES } from '../../policy/feedback.ts';
import type { SenderPattern } from '../../policy/senders.ts';
import { type Field, field, type Parsed, type Spec } from '../field.ts';
import { IDENTITY_TYPE, type IdentityRule, parseIdentityRule } from '../identity-rule.ts';
import { HOST } from './net.ts';
import { text } from './plain.ts';

/** A mailbox for people to be written to: local part and domain in ASCII, as SMTP carries it without extensions. */
export function mailAddress(spec: Spec): Field<string> {
  return text({
    ...spec,
    pattern: /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/i,
    type: 'a mail address such as "abuse@example.net"',
  });
}

/** Whose mail: everybody's, a domain's, or one address's. */
export function mailOf(spec: Spec): Field<string> {
  const domain = HOST.source.slice(1, -1);
  return text({
    ...spec,
    pattern: new RegExp(`^(?:\\*|(?:[^\\s<>"@\\p{C}]{1,64}@)?${domain})$`, 'iu'),
    type: '"*" for all, a domain such as "example.net", or an address such as "a@example.net"',
  });
}

/** Sender addresses: `a@example.com`, `*@example.com`, and `*@*.example.com` for all domains below it. */
export function senderPattern(spec: Spec): Field<SenderPattern & { readonly text: string }> {
  const type = 'a sender such as "a@example.com", "*@example.com", or "*@*.example.com" for the domains below it';
  const parse = (raw: unknown): Parsed<SenderPattern & { readonly text: string }> => {
    const text = typeof raw === 'string' ? raw.toLowerCase() : '';
    const [, local = '', below, domain = ''] = /^([^\s<>@]{1,64})@(\*\.)?([^\s<>@*]{1,253})$/.exec(text) ?? [];
    if (domain === '' || !HOST.test(domain) || (local !== '*' && local.includes('*'))) return { expected: type };
    return { value: { local: local === '*' ? undefined : local, domain, isBelow: below !== undefined, text } };
  };
  return { ...field(type, parse, spec), write: ({ text }) => text };
}

export function identityRule(spec: Spec): Field<IdentityRule> {
  const parse = (raw: unknown): Parsed<IdentityRule> => {
    const rule = parseIdentityRule(raw);
    return 'expected' in rule ? rule : { value: rule };
  };
  return { ...field(IDENTITY_TYPE, parse, spec), write: ({ text }) => text };
}

/** A class of the table, or all of one kind. */
export function className(spec: Spec): Field<string> {
  return wordOf('a class such as "spam.gtube", or "spam" for all of spam.*; "postern classes" lists them', KNOWN, spec);
}

/** The same for rules that count, which count complaints as well. */
export function countedClass(spec: Spec): Field<string> {
  const type =
    'a class such as "spam.gtube", or "spam" for all of spam.* ("postern classes" lists them), or "complaint", "complaint.abuse", .fraud, .virus, .other';
  return wordOf(type, (text) => KNOWN(text) || COMPLAINT_CLASSES.includes(text), spec);
}

const NAMES = Object.keys(classes);
const KNOWN = (text: string): boolean => NAMES.some((name) => name === text || name.startsWith(`${text}.`));

function wordOf(type: string, isKnown: (text: string) => boolean, spec: Spec): Field<string> {
  return field(type, (raw) => (typeof raw === 'string' && isKnown(raw) ? { value: raw } : { expected: type }), spec);
}
