/**
 * The visible text of HTML and the addresses it points to: one pass over its tokens, no tree.
 *
 * Every search that finds nothing is remembered, so that a text of nothing but beginnings costs one pass as well.
 */

export type HtmlFacts = { readonly text: string; readonly links: readonly string[] };

const LINKS = new Set(['href', 'src', 'action', 'background', 'data', 'formaction', 'poster']);
/** Whose content is not shown. */
const HIDDEN = new Set(['script', 'style', 'title', 'template']);
const MAX_LINK = 2000;
const MAX_ATTRIBUTES = 100;

/** At most `maxLinks` of the links. */
export function readHtml(html: string, maxLinks: number): HtmlFacts {
  const text: string[] = [];
  const links: string[] = [];
  const search = new Search(html);
  let at = 0;
  while (at < html.length) {
    const tag = search.of('<', at);
    text.push(html.slice(at, tag));
    if (tag >= html.length) break;
    if (html.startsWith('<!--', tag)) {
      at = endOfComment(html, tag + 4, search);
      continue;
    }
    const next = html.charCodeAt(tag + 1);
    const isTag = isLetter(next) || next === 47 || next === 33 || next === 63;
    if (!isTag) {
      text.push('<');
      at = tag + 1;
      continue;
    }
    const name = nameAt(html, tag + 1);
    at = isLetter(next) ? attributes(html, tag + 1 + name.length, search, maxLinks, links) : search.of('>', tag) + 1;
    // Tags part words, but for those that stand inside of one.
    if (!/^(?:b|i|u|a|em|font|span|strong|\/(?:b|i|u|a|em|font|span|strong))$/.test(name)) text.push(' ');
    if (HIDDEN.has(name)) at = endOf(html, name, at, search);
  }
  return { text: entities(text.join('')), links };
}

/** Reads to the end of a tag, and returns what comes behind it. */
function attributes(html: string, from: number, search: Search, maxLinks: number, links: string[]): number {
  let at = from;
  for (let count = 0; count < MAX_ATTRIBUTES; count++) {
    while (at < html.length && isBlank(html.charCodeAt(at))) at++;
    if (at >= html.length || html.charCodeAt(at) === 62) return at + 1;
    const name = nameAt(html, at);
    at += Math.max(1, name.length);
    while (isBlank(html.charCodeAt(at))) at++;
    if (html.charCodeAt(at) !== 61) continue;
    at++;
    while (html.charCodeAt(at) <= 32) at++;
    const quote = html[at];
    let end: number;
    let value: string;
    if (quote === '"' || quote === "'") {
      end = search.of(quote, at + 1);
      value = html.slice(at + 1, Math.min(end, at + 1 + MAX_LINK));
      end++;
    } else {
      end = at;
      while (end < html.length && html.charCodeAt(end) > 32 && html.charCodeAt(end) !== 62) end++;
      value = html.slice(at, Math.min(end, at + MAX_LINK));
    }
    at = end;
    if (LINKS.has(name) && links.length < maxLinks)
      links.push(
        entities(value)
          .replace(/[\t\r\n]/g, '')
          .trim(),
      );
  }
  return search.of('>', at) + 1;
}

/** As browsers end it: by `-->` or `--!>`, and `<!-->` and `<!--->` are whole ones. */
function endOfComment(html: string, from: number, search: Search): number {
  if (html.startsWith('>', from)) return from + 1;
  if (html.startsWith('->', from)) return from + 2;
  for (let at = search.of('--', from); at < html.length; at = search.of('--', at + 1)) {
    if (html.startsWith('>', at + 2)) return at + 3;
    if (html.startsWith('!>', at + 2)) return at + 4;
  }
  return html.length;
}

/** Behind the end tag of an element that holds no tags. */
function endOf(html: string, name: string, from: number, search: Search): number {
  for (let at = search.of('</', from); at < html.length; at = search.of('</', at + 2)) {
    if (html.slice(at + 2, at + 2 + name.length).toLowerCase() === name) return search.of('>', at) + 1;
  }
  return html.length;
}

function nameAt(html: string, from: number): string {
  let end = from;
  if (html.charCodeAt(end) === 47) end++;
  while (end < html.length && end - from < 40) {
    const code = html.charCodeAt(end);
    if (!isLetter(code) && !(code >= 48 && code <= 58) && code !== 45) break;
    end++;
  }
  return html.slice(from, end).toLowerCase();
}

function isLetter(code: number): boolean {
  return (code | 32) >= 97 && (code | 32) <= 122;
}

/** Between attributes; a slash parts them as well. */
function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 47;
}

/** indexOf that knows from where on there is none; the length of the text stands for "nowhere". */
class Search {
  readonly #text: string;
  readonly #none = new Map<string, number>();

  constructor(text: string) {
    this.#text = text;
  }

  of(what: string, from: number): number {
    if (from >= (this.#none.get(what) ?? Number.POSITIVE_INFINITY)) return this.#text.length;
    const at = this.#text.indexOf(what, from);
    if (at >= 0) return at;
    this.#none.set(what, from);
    return this.#text.length;
  }
}

const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  shy: '',
  zwnj: '',
  zwj: '',
};
/** With a semicolon alone. */
const NAMED_TO_END: Readonly<Record<string, string>> = { colon: ':', period: '.', sol: '/', tab: '\t', newline: '\n' };

function entities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(
    /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,7}));?/gi,
    (whole, hex?: string, dec?: string, name?: string) => {
      if (name !== undefined) {
        const lower = name.toLowerCase();
        return NAMED[lower] ?? (whole.endsWith(';') ? NAMED_TO_END[lower] : undefined) ?? whole;
      }
      const code = hex === undefined ? Number(dec) : Number.parseInt(hex, 16);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '';
    },
  );
}
