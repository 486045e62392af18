/** One command line to verb and argument; MAIL's and RCPT's arguments to path and parameters. Pure. */

export const VERBS = [
  'EHLO',
  'HELO',
  'MAIL',
  'RCPT',
  'DATA',
  'RSET',
  'NOOP',
  'QUIT',
  'VRFY',
  'EXPN',
  'HELP',
  'BDAT',
  'AUTH',
  'STARTTLS',
  'ETRN',
  'TURN',
  'ATRN',
  'SEND',
  'SOML',
  'SAML',
] as const;
export type Verb = (typeof VERBS)[number];

const KNOWN: ReadonlySet<string> = new Set(VERBS);

export type Command = { readonly verb: Verb | undefined; readonly argument: string };

/** RFC 5321 section 2.4: verbs in any case. Blanks at the end of a line are borne with (section 4.1.1). */
export function parseCommand(line: string): Command {
  const space = line.indexOf(' ');
  const word = (space < 0 ? line : line.slice(0, space)).toUpperCase();
  return {
    verb: KNOWN.has(word) ? (word as Verb) : undefined,
    argument: space < 0 ? '' : line.slice(space + 1).trim(),
  };
}

/** HTTP or TLS on the port of SMTP: not a slip in a command, but another protocol. */
export function isOtherProtocol(line: string): boolean {
  return line.charCodeAt(0) === 0x16 || /^(GET|POST|PUT|HEAD|OPTIONS|CONNECT) \S+ HTTP\/\d/.test(line);
}

export type PathArgument = {
  /** with its angle brackets, as it will be passed on */
  readonly path: string;
  readonly parameters: ReadonlyMap<string, string | undefined>;
};

const ATOM = '[^\\s<>()[\\]\\\\,;:"@\\x00-\\x1f\\x7f]+';
const LOCAL = `(?:${ATOM}|"(?:[^"\\\\\\x00-\\x1f\\x7f]|\\\\[\\x20-\\x7e])*")`;
const DOMAIN = '(?:[^\\s<>()[\\]\\\\,;:"@\\x00-\\x20\\x7f]+|\\[[\\x21-\\x5a\\x5e-\\x7e]+\\])';
const PATH = new RegExp(`^(?:@${DOMAIN}(?:,@${DOMAIN})*:)?${LOCAL}@${DOMAIN}$`);
const PARAMETER = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\xff]+))?$/;

/** RFC 5321 section 4.5.3.1.3 says 256 octets; addresses with UTF-8 or long local parts are seen up to twice that. */
const MAX_PATH = 512;

/**
 * `FROM:<a@b> SIZE=1` or `TO:<a@b>`. Blanks after the colon and a missing pair of brackets are borne with, as every
 * server does; the path is passed on in brackets. Undefined when it is not well formed.
 */
export function parsePath(keyword: 'FROM' | 'TO', argument: string): PathArgument | undefined {
  if (argument.slice(0, keyword.length + 1).toUpperCase() !== `${keyword}:`) return undefined;
  const rest = argument.slice(keyword.length + 1).trimStart();
  let path: string;
  let tail: string;
  if (rest.startsWith('<')) {
    const end = closingBracket(rest);
    if (end < 0) return undefined;
    path = rest.slice(1, end);
    tail = rest.slice(end + 1);
    if (tail !== '' && !tail.startsWith(' ')) return undefined;
  } else {
    const space = rest.indexOf(' ');
    path = space < 0 ? rest : rest.slice(0, space);
    tail = space < 0 ? '' : rest.slice(space);
    if (path === '') return undefined;
  }
  if (path.length > MAX_PATH || !isPath(keyword, path)) return undefined;
  const parameters = new Map<string, string | undefined>();
  for (const word of tail.split(' ')) {
    if (word === '') continue;
    const match = PARAMETER.exec(word);
    const name = match?.[1]?.toUpperCase();
    if (!match || name === undefined || parameters.has(name)) return undefined;
    parameters.set(name, match[2]);
  }
  return { path: `<${path}>`, parameters };
}

/** The bracket that ends the path: not one inside a quoted local part. */
function closingBracket(text: string): number {
  let quoted = false;
  for (let i = 1; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === '\\') i++;
    else if (c === '"') quoted = !quoted;
    else if (c === '>' && !quoted) return i;
  }
  return -1;
}

function isPath(keyword: 'FROM' | 'TO', path: string): boolean {
  // The null reverse-path (section 4.5.5), and the one recipient that needs no domain (section 4.1.1.3).
  if (keyword === 'FROM' && path === '') return true;
  if (keyword === 'TO' && /^postmaster$/i.test(path)) return true;
  return PATH.test(path);
}
