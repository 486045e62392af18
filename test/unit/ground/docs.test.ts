/** Pages that name what the code has: nothing missing, nothing that is no longer there, no link into nothing. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { quietMetrics } from '../../kit/metrics.ts';

const top = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(top, path), 'utf8');

test('docs/operate.md explains every metric with its labels, and no other', async () => {
  const metrics = quietMetrics();
  const made = [...(await metrics.render()).matchAll(/^# TYPE (postern_\w+) /gm)].map((match) => match[1]);
  const explained = [...read('docs/operate.md').matchAll(/^\| `(postern_\w+)` \|/gm)].map((match) => match[1]);
  assert.deepEqual(new Set(explained), new Set(made));
});

test('docs/operate.md explains every event of the log, and no other', () => {
  const logged = new Set<string>();
  for (const file of globSync('src/**/*.ts', { cwd: top })) {
    // The name follows the level, which may be chosen between two; a choice of two names has two in quotes.
    for (const [, names = ''] of read(file).matchAll(
      /(?:\bwrite|#log|\bprint|\bsay)\(\s*(?:level|'(?:info|warn|error)'|[^()'\n]+\? '\w+' : '\w+'),\s*([^,;){]+)/g,
    ))
      for (const [, name = ''] of names.matchAll(/'([a-z.-]+)'/g)) logged.add(name);
    for (const [, name = ''] of read(file).matchAll(/\bevent"?: ?['"]([a-z.-]+)['"]/g)) logged.add(name);
  }
  assert.ok(logged.size > 50, `only ${logged.size} were found`);
  const [, table = ''] = /^\| event \| \|\n((?:\|.*\n)+)/m.exec(read('docs/operate.md')) ?? [];
  const explained = table
    .split('\n')
    .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([a-z.-]+)`/g)].map((match) => match[1] ?? ''));
  assert.deepEqual([...new Set(explained)].sort(), [...logged].sort());
});

test('every link between our pages leads somewhere', () => {
  const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: top })];
  const dead: string[] = [];
  for (const page of pages) {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : join(dirname(page), path);
      if (!existsSync(join(top, file))) dead.push(`${page}: ${target}`);
      else if (anchor !== undefined && !anchors(read(file)).includes(anchor)) dead.push(`${page}: ${target}`);
    }
  }
  assert.deepEqual(dead, []);
});

/** As GitHub makes them from headings, and those that are written. */
function anchors(text: string): string[] {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
  return [...headings, ...[...text.matchAll(/<a id="([^"]+)">/g)].map((match) => match[1] ?? '')];
}
