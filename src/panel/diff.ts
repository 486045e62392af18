/** Two texts line by line: what only the first has, and what only the second has. */

/**
 * `- line` and `+ line` in the order in which they stand, each under the heading (`[…]`, `### …`, `*table`) that it stands
 * under. A line that has only moved under the same heading is none that differs.
 */
export function linesThatDiffer(before: string, after: string): readonly string[] {
  const [was, is] = [sectionsOf(before), sectionsOf(after)];
  const all: string[] = [];
  for (const heading of new Set([...was.keys(), ...is.keys()])) {
    const [old, now] = [was.get(heading) ?? [], is.get(heading) ?? []];
    const gone = without(old, now).map((line) => `- ${line}`);
    const come = without(now, old).map((line) => `+ ${line}`);
    if (gone.length + come.length > 0) all.push(heading, ...gone, ...come);
  }
  return all;
}

function sectionsOf(text: string): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  const seen = new Map<string, number>();
  let lines: string[] = [];
  const all = text.split('\n');
  for (const [i, read] of all.entries()) {
    const next = all[i + 1] ?? '';
    // Of a list of tables each is known by its name.
    const line = read.startsWith('[[') && next.startsWith('name = ') ? `${read} ${next}` : read;
    if (line === '') continue;
    if (!/^(?:\[|###|\*)/.test(line)) {
      lines.push(line);
      continue;
    }
    // The second of two tables with one name is another.
    const count = (seen.get(line) ?? 0) + 1;
    seen.set(line, count);
    sections.set(count === 1 ? line : `${line} (${count})`, (lines = []));
  }
  return sections;
}

/** Those of `lines` that `others` does not have as often. */
function without(lines: readonly string[], others: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return lines.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}
