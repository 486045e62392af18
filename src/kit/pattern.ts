/**
 * Patterns that people write, run on what strangers send: time grows with the text's length, whatever both are.
 *
 * The syntax is RE2's: no back references and no look-around, which is what a matcher without backtracking cannot do.
 * Time also grows with the pattern, so both have a bound.
 */
import { RE2JS } from 're2js';

const MAX_SOURCE = 1000;
/** Instructions of the compiled program: `(\w{1,100}){1,10}` is a short way to write a long pattern. */
const MAX_PROGRAM = 5000;

export class Pattern {
  readonly source: string;
  /** lower case; what does not have it (`folded`) cannot match. Empty when there is no such word. */
  readonly required: string;
  /** instructions: time is at most in proportion to this and to the text's length */
  readonly size: number;
  readonly #compiled: RE2JS;

  private constructor(source: string, compiled: RE2JS) {
    this.source = source;
    this.required = requiredWord(source);
    this.size = compiled.programSize();
    this.#compiled = compiled;
  }

  /** The pattern, or in a few words what is wrong with it. With `lines`, `^` and `$` stand for those of each line. */
  static compile(source: string, { lines = false } = {}): Pattern | { readonly fault: string } {
    if (source.length > MAX_SOURCE) return { fault: `longer than ${MAX_SOURCE} characters` };
    try {
      const compiled = RE2JS.compile(source, lines ? RE2JS.MULTILINE : 0);
      if (compiled.programSize() > MAX_PROGRAM) return { fault: 'too many repetitions' };
      return new Pattern(source, compiled);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return { fault: text.replace(/^error parsing regexp: /, '') };
    }
  }

  /** How many groups it has. */
  get groups(): number {
    return this.#compiled.groupCount();
  }

  /** Whether it matches anywhere in the text. */
  test(text: string): boolean {
    return this.#compiled.test(text);
  }

  /** What its first group has caught, or the whole match when it has none; undefined when it does not match. */
  capture(text: string): string | undefined {
    // Without captures first: that is ten times faster.
    if (!this.#compiled.test(text)) return undefined;
    const matcher = this.#compiled.matcher(text);
    if (!matcher.find()) return undefined;
    return (matcher.groupCount() > 0 ? matcher.group(1) : matcher.group()) ?? undefined;
  }
}

/** A text in which `required` words are looked for: lower case, as patterns fold it. */
export function folded(text: string): string {
  return text.toLowerCase().replaceAll('\u017f', 's');
}

/**
 * The longest word that stands in every match: at the top level of a pattern without alternatives there. Looking for it
 * costs a hundredth of the match, and most texts do not have it.
 */
function requiredWord(source: string): string {
  let best = '';
  let word = '';
  const end = (): void => {
    if (word.length > best.length) best = word;
    word = '';
  };
  for (let at = 0; at < source.length; at++) {
    const char = source[at] as string;
    if (char === '|') return '';
    if (char === '[' || char === '(') {
      end();
      at = char === '[' ? classEnd(source, at) : groupEnd(source, at);
    } else if (char === '\\') {
      const next = source[++at] ?? '';
      // Quotation, code points and properties are longer than two characters.
      if (/[QxpP0-9]/.test(next)) return '';
      if (/\w/.test(next)) end();
      else word += next;
    } else if (/[?*{]/.test(char)) {
      // What was before may be missing.
      word = word.slice(0, -1);
      end();
      const [times] = char === '{' ? (/^\{\d+(?:,\d*)?\}/.exec(source.slice(at)) ?? ['']) : [' '];
      if (times === '') return '';
      at += times.length - 1;
    } else if (/[\x20\w@,:;=<>!&%#"'/~-]/.test(char)) word += char.toLowerCase();
    else end();
  }
  end();
  return best;
}

function classEnd(source: string, from: number): number {
  // A bracket right at the beginning stands for itself.
  let at = from + (source[from + 1] === '^' ? 2 : 1);
  if (source[at] === ']') at++;
  for (; at < source.length && source[at] !== ']'; at++) {
    if (source[at] === '\\') at++;
    else if (source.startsWith('[:', at)) at = source.indexOf(':]', at) + 1;
  }
  return at;
}

function groupEnd(source: string, from: number): number {
  let depth = 0;
  for (let at = from; at < source.length; at++) {
    const char = source[at];
    if (char === '\\') at++;
    else if (char === '[') at = classEnd(source, at);
    else if (char === '(') depth++;
    else if (char === ')' && --depth === 0) return at;
  }
  return source.length;
}
