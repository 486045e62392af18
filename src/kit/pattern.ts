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
  readonly #compiled: RE2JS;

  private constructor(source: string, compiled: RE2JS) {
    this.source = source;
    this.#compiled = compiled;
  }

  /** The pattern, or in a few words what is wrong with it. */
  static compile(source: string): Pattern | { readonly fault: string } {
    if (source.length > MAX_SOURCE) return { fault: `longer than ${MAX_SOURCE} characters` };
    try {
      const compiled = RE2JS.compile(source);
      if (compiled.programSize() > MAX_PROGRAM) return { fault: 'too many repetitions' };
      return new Pattern(source, compiled);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return { fault: text.replace(/^error parsing regexp: /, '') };
    }
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
