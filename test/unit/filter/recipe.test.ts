/** The example of docs/add-a-filter.md, taken from the page and run. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { MakeFilter } from '../../../src/filter/filter.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { filtersOf, mailOf } from '../../kit/mail.ts';

const top = join(import.meta.dirname, '../../..');

test('the example of docs/add-a-filter.md has at most 30 lines and works as it stands', async () => {
  const page = readFileSync(join(top, 'docs/add-a-filter.md'), 'utf8');
  const [, example = ''] = /^```ts\n([\s\S]*?)^```$/m.exec(page) ?? [];
  assert.ok(example.trimEnd().split('\n').length <= 30);

  const directory = mkdtempSync(join(tmpdir(), 'postern-recipe-'));
  const file = join(directory, 'priority.ts');
  writeFileSync(file, example.replaceAll("'./", `'${pathToFileURL(join(top, 'src/filter')).href}/`));
  const { priority } = (await import(pathToFileURL(file).href)) as { priority: MakeFilter };
  rmSync(directory, { recursive: true });

  const set = await filtersOf('', [priority]);
  const look = (text: string) => runFilters(set.body, mailOf(text), 1000);
  assert.deepEqual((await look('X-Priority: 1 (Highest)\r\n\r\n')).judged, [
    { class: 'spam.score', action: 'ignore', score: 0.1, by: 'priority' },
  ]);
  assert.deepEqual((await look('X-Priority: 3\r\nSubject: high\r\n\r\n')).findings, []);
});
