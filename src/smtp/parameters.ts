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

function read(
  rules: Readonly<Record<string, Rule>>,
  parameters: ReadonlyMap<string, string | undefined>,
  offers: Capabilities,
): Parameters | { readonly refuse: Class } {
  let text = '';
  const needs = new Set<Extension>();
  for (const [name, value] of parameters) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule?.offered(offers)) return { refuse: 'protocol.parameter' };
    if (!rule.value.test(value ?? '')) return { refuse: 'protocol.argument' };
    // BODY=7BIT says what is true without the extension; only 8BITMIME asks something of the server.
    if (name !== 'BODY' || value?.toUpperCase() === '8BITMIME') needs.add(rule.extension);
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

export function readMailParameters(parameters: ReadonlyMap<string, string | undefined>, offers: Capabilities) {
  return read(MAIL, parameters, offers);
}

export function readRecipientParameters(parameters: ReadonlyMap<string, string | undefined>, offers: Capabilities) {
  return read(RCPT, parameters, offers);
}
