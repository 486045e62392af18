/** MAIL's and RCPT's parameters: what was offered, well formed, and the text in which they are passed on. */
import type { Class } from '../policy/classes.ts';
import type { Capabilities } from './capabilities.ts';
import type { Extension } from './transaction.ts';

export type Parameters = {
  /** `""` or ` SIZE=1 BODY=8BITMIME`, as it will be passed on */
  readonly text: string;
  readonly needs: readonly Extension[];
  readonly sizeBytes: number | undefined;
  readonly smtpUtf8: boolean;
};

type Rule = {
  readonly extension: Extension;
  readonly offered: (offers: Capabilities) => boolean;
  /** on the value; a keyword without one is the empty text */
  readonly value: RegExp;
};

// RFC 3461 section 4: xtext is printable ASCII with +XX escapes.
const XTEXT = '(?:[\\x21-\\x2a\\x2c-\\x3c\\x3e-\\x7e]|\\+[0-9A-F]{2})';

const MAIL: Readonly<Record<string, Rule>> = {
  SIZE: { extension: 'SIZE', offered: (o) => o.size !== undefined, value: /^\d{1,20}$/ },
  BODY: { extension: '8BITMIME', offered: (o) => o.eightBitMime, value: /^(7BIT|8BITMIME)$/i },
  SMTPUTF8: { extension: 'SMTPUTF8', offered: (o) => o.smtpUtf8, value: /^$/ },
  RET: { extension: 'DSN', offered: (o) => o.dsn, value: /^(FULL|HDRS)$/i },
  ENVID: { extension: 'DSN', offered: (o) => o.dsn, value: new RegExp(`^${XTEXT}{1,100}$`) },
};

const RCPT: Readonly<Record<string, Rule>> = {
  NOTIFY: {
    extension: 'DSN',
    offered: (o) => o.dsn,
    value: /^(NEVER|(SUCCESS|FAILURE|DELAY)(,(SUCCESS|FAILURE|DELAY)){0,2})$/i,
  },
  ORCPT: {
    extension: 'DSN',
    offered: (o) => o.dsn,
    value: /^[A-Za-z0-9-]{1,40};[\x21-\x3c\x3e-\x7e\x80-\xff]{1,500}$/,
  },
};

/** BODY=7BIT says what is true without the extension; everything else asks something of the server. */
function asksFor(name: string, value: string | undefined): boolean {
  return name !== 'BODY' || value?.toUpperCase() === '8BITMIME';
}

/** What may be used, and what could have been: whether any server behind us ever offered an extension. */
export type Offered = { readonly now: Capabilities; readonly ever: (extension: Extension) => boolean };

/**
 * An extension that was not offered in this session: offered once, it may be again (4xx); never, the code that its RFC
 * has for it (RFC 6152 section 5, RFC 6531 section 3.5), or else that of an unknown parameter.
 */
function notOffered(extension: Extension, { ever }: Offered): Class {
  if (ever(extension)) return 'upstream.extension';
  if (extension === '8BITMIME') return 'body.8bit';
  return extension === 'SMTPUTF8' ? 'body.smtputf8' : 'protocol.parameter';
}

function read(
  rules: Readonly<Record<string, Rule>>,
  parameters: ReadonlyMap<string, string | undefined>,
  offered: Offered,
): Parameters | { readonly refuse: Class } {
  let text = '';
  const needs = new Set<Extension>();
  for (const [name, value] of parameters) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) return { refuse: 'protocol.parameter' };
    const asks = asksFor(name, value);
    if (asks && !rule.offered(offered.now)) return { refuse: notOffered(rule.extension, offered) };
    if (!rule.value.test(value ?? '')) return { refuse: 'protocol.argument' };
    if (!asks && !rule.offered(offered.now)) continue;
    if (asks) needs.add(rule.extension);
    text += value === undefined ? ` ${name}` : ` ${name}=${value}`;
  }
  const size = parameters.get('SIZE');
  return {
    text,
    needs: [...needs],
    sizeBytes: size === undefined ? undefined : Number(size),
    smtpUtf8: parameters.has('SMTPUTF8'),
  };
}

export function readMailParameters(parameters: ReadonlyMap<string, string | undefined>, offered: Offered) {
  return read(MAIL, parameters, offered);
}

export function readRecipientParameters(parameters: ReadonlyMap<string, string | undefined>, offered: Offered) {
  return read(RCPT, parameters, offered);
}
