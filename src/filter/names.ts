/**
 * Parameters of a structured field and the names in them: as they stand, joined and decoded (RFC 2231), and as encoded
 * words (RFC 2047), which do not belong there and are read all the same by most programs.
 */

export type Parameters = {
  /** the field's own value, lower case: `text/plain`, `attachment` */
  readonly value: string;
  /** the values of each name, lower case: one, unless readers differ in which they take */
  readonly all: ReadonlyMap<string, readonly string[]>;
};

const MAX_PARAMETERS = 100;
/** Pieces of one value (RFC 2231 section 3); ten thousand are no name. */
const MAX_PIECES = 200;

/** One pass; a quote that is never closed ends with the field. */
export function parameters(field: string): Parameters {
  const pieces = split(field);
  const all = new Map<string, string[]>();
  const add = (name: string, text: string, isExtended: boolean): void => {
    const values = all.get(name) ?? [];
    all.set(name, values);
    // Where both stand, the extended one is what programs show (RFC 6266 section 4.3 says so for HTTP).
    if (isExtended) values.unshift(text);
    else values.push(text);
  };
  const continued = new Map<string, { index: number; text: string; isEncoded: boolean }[]>();
  for (const piece of pieces.slice(1)) {
    const equals = piece.indexOf('=');
    if (equals < 0) continue;
    const key = piece.slice(0, equals).trim().toLowerCase();
    const text = unquoted(piece.slice(equals + 1).trim());
    const star = key.indexOf('*');
    if (star < 0) {
      add(key, text, false);
      continue;
    }
    if (star === key.length - 1) {
      add(key.slice(0, star), percentDecoded(text, true), true);
      continue;
    }
    const isEncoded = key.endsWith('*');
    const index = Number(key.slice(star + 1).replace('*', '')) || 0;
    const name = key.slice(0, star);
    const group = continued.get(name) ?? [];
    continued.set(name, group);
    if (group.length < MAX_PIECES) group.push({ index, text, isEncoded });
  }
  for (const [name, group] of continued) {
    group.sort((a, b) => a.index - b.index);
    const texts = group.map(({ text, isEncoded }, i) => (isEncoded ? percentDecoded(text, i === 0) : text));
    add(name, texts.join(''), true);
  }
  return { value: (pieces[0] ?? '').trim().toLowerCase(), all };
}

/** At semicolons outside of quotes. */
function split(field: string): string[] {
  const pieces: string[] = [];
  let begin = 0;
  let isQuoted = false;
  for (let at = 0; at < field.length && pieces.length < MAX_PARAMETERS; at++) {
    const code = field.charCodeAt(at);
    if (isQuoted && code === 92) at++;
    else if (code === 34) isQuoted = !isQuoted;
    else if (code === 59 && !isQuoted) {
      pieces.push(field.slice(begin, at));
      begin = at + 1;
    }
  }
  pieces.push(field.slice(begin));
  return pieces;
}

function unquoted(text: string): string {
  if (!text.startsWith('"')) return text;
  return text.slice(1, text.endsWith('"') && text.length > 1 ? -1 : undefined).replace(/\\(.)/g, '$1');
}

/** `utf-8'en'a%20b`; only the first piece has charset and language. */
function percentDecoded(text: string, isFirst: boolean): string {
  const [charset = '', , rest] = isFirst ? text.split("'", 3) : [];
  const value = rest === undefined ? text : text.slice(text.indexOf("'", text.indexOf("'") + 1) + 1);
  const octets = Buffer.from(
    value.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  return decoded(octets, charset.toLowerCase() || 'utf-8');
}

/** Each name as it stands, and decoded where it has encoded words; UTF-8 where it is UTF-8. */
export function readWords(names: readonly string[]): string[] {
  const all = new Set<string>();
  for (const name of names) {
    const plain = asUtf8(name);
    all.add(plain);
    if (plain.includes('=?')) all.add(decodedWords(plain));
  }
  all.delete('');
  return [...all];
}

/** Encoded words (RFC 2047) decoded once, never what comes out of them again. */
export function decodedWords(text: string): string {
  return text.replace(
    /=\?([\w.+-]{1,40})(?:\*[\w-]{1,20})?\?([bq])\?([^?\s]{0,2000})\?=(?:\s+(?==\?))?/gi,
    (_, charset: string, how: string, data: string) => {
      const octets =
        how.toLowerCase() === 'b'
          ? Buffer.from(data, 'base64')
          : Buffer.from(
              data
                .replaceAll('_', ' ')
                .replace(/=([0-9a-f]{2})/gi, (__, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
              'latin1',
            );
      return decoded(octets, charset.toLowerCase());
    },
  );
}

function asUtf8(latin1: string): string {
  if (!/[\x80-\xff]/.test(latin1)) return latin1;
  const text = Buffer.from(latin1, 'latin1').toString('utf8');
  return text.includes('\ufffd') ? latin1 : text;
}

const decoders = new Map<string, TextDecoder | undefined>();
const MAX_DECODERS = 100;

/** Octets of a charset as text; an unknown charset is read as latin1, so that what is ASCII is found. */
export function decoded(octets: Buffer, charset: string): string {
  if (charset === '' || charset === 'utf-8' || charset === 'us-ascii') return octets.toString('utf8');
  if (charset === 'iso-8859-1') return octets.toString('latin1');
  if (!decoders.has(charset)) {
    if (decoders.size >= MAX_DECODERS) decoders.clear();
    let decoder: TextDecoder | undefined;
    try {
      decoder = new TextDecoder(charset);
    } catch {
      decoder = undefined;
    }
    decoders.set(charset, decoder);
  }
  return decoders.get(charset)?.decode(octets) ?? octets.toString('latin1');
}
