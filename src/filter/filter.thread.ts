/** The inside of the filters' threads: what takes longer than the loop can spare. */
import { Pattern } from '../kit/pattern.ts';
import { serveTasks } from '../kit/thread.ts';
import { inspect } from './inspect.ts';
import type { Limits } from './mime.ts';
import { unstuff } from './octets.ts';
import type { Matching } from './rules.ts';

/** Compiled once in each thread; a reload may bring others. */
const patterns = new Map<string, Pattern>();
const MAX_PATTERNS = 1000;

serveTasks({
  inspect: ({ bytes, limits }: { readonly bytes: Uint8Array; readonly limits: Limits }) =>
    inspect(unstuff(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)), limits, false),
  match: ({ texts, matches }: Matching) =>
    matches.map(({ source, place }) => patternOf(source).test(texts[place] ?? '')),
});

function patternOf(source: string): Pattern {
  let pattern = patterns.get(source);
  if (pattern) return pattern;
  const compiled = Pattern.compile(source, { lines: true });
  if (!(compiled instanceof Pattern)) throw new Error(compiled.fault);
  if (patterns.size >= MAX_PATTERNS) patterns.clear();
  patterns.set(source, (pattern = compiled));
  return pattern;
}
