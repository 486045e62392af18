/**
 * bench/RESULTS.md: sections between markers are written anew by a run that has measured them; everything else in the file, what
 * people have written about the figures, stays.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const RESULTS = join(import.meta.dirname, 'RESULTS.md');

/** In the order in which they stand in a new file. */
const SECTIONS = [
  'ratios',
  'preserve',
  'tls',
  'latency',
  'memory',
  'floods',
  'growth',
  'profile',
  'filters',
  'figures',
] as const;
export type Section = (typeof SECTIONS)[number];
type Place = Section | `quick-${Section}`;

const HEAD = `# Speed: figures

Written by \`npm run bench\`; what each scenario is stands in \`bench/scenarios.ts\`. Generator, relay and sink share the machine, so
only ratios of neighbouring samples of one run count.
`;

export function writeSection(section: Place, text: string): void {
  const old = readText() ?? `${HEAD}${SECTIONS.map((name) => `\n${begin(name)}\n${end(name)}\n`).join('')}`;
  const from = old.indexOf(begin(section));
  const to = old.indexOf(end(section));
  const block = `${begin(section)}\n${text.trim()}\n${end(section)}`;
  const next =
    from < 0 || to < from
      ? `${old.trimEnd()}\n\n${block}\n`
      : old.slice(0, from) + block + old.slice(to + end(section).length);
  writeFileSync(RESULTS, next);
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function begin(section: Place): string {
  return `<!-- bench: ${section} -->`;
}

function end(section: Place): string {
  return `<!-- /bench: ${section} -->`;
}

function readText(): string | undefined {
  try {
    return readFileSync(RESULTS, 'utf8');
  } catch {
    return undefined;
  }
}
