/** What `postern check` and `postern config` print. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'smol-toml';
import { rules } from '../../../src/config/check.ts';
import { configMarkdown } from '../../../src/config/docs.ts';
import { ELSEWHERE } from '../../../src/config/elsewhere.ts';
import { exampleToml } from '../../../src/config/example.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { printJson, printToml } from '../../../src/config/print.ts';
import { type Config, schema } from '../../../src/config/schema.ts';
import { sections, tomlValue } from '../../../src/config/toml.ts';
import { fakeOutside, goodToml } from './outside.fake.ts';

async function load(text: string, file: string) {
  const result = await parseConfig(text, file, fakeOutside);
  assert.ok(result.ok, result.ok ? '' : result.errors.map(({ message }) => message).join('\n'));
  return result;
}

const richToml = `${goodToml}mode = "observe"
[[subscriber]]
name = "web-1"
prefixes = ["198.51.100.7", "2001:db8:1:7::1"]
max_connections = 5
[[network]]
name = "servers"
prefixes = [${Array.from({ length: 40 }, (_, i) => `"203.0.113.${i}"`).join(', ')}]
fail = "open"
[filters.gtube]
finding = "defer"
[[rule]]
name = "lottery"
body = "(?i)you have \\\\w+"
[gateway.unused]
`.replace('[gateway.unused]\n', '[panel]\nlisten = "[::1]:8025"\n');

test('the effective configuration says where each value came from', async () => {
  const { config, origins } = await load(goodToml, 'dir/postern.toml');
  const lines = printToml(config, origins, 'dir/postern.toml').split('\n');
  const line = (key: string) => lines.find((text) => text.startsWith(key))?.replace(/ {2,}/, '  ');
  assert.equal(line('name = "gw1'), 'name = "gw1.example.net"  # dir/postern.toml:2');
  assert.equal(line('drain'), 'drain = "30s"  # default');
  assert.equal(line('workers'), `workers = ${config.gateway.workers}  # default, "auto"`);
  assert.equal(line('prefixes'), 'prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]  # dir/postern.toml:12');
  assert.equal(line('# username'), '# username  # not set');
});

test('what is printed is TOML that loads to the same configuration', async () => {
  for (const text of [goodToml, richToml]) {
    const { config, origins } = await load(text, 'a.toml');
    const printed = printToml(config, origins, 'a.toml');
    const without = (of: Config): unknown => ({
      ...of,
      subscriber: of.subscriber.map((one) => ({ ...one, place: undefined })),
    });
    assert.deepEqual(without((await load(printed, 'b.toml')).config), without(config), printed);
    assert.ok(
      printed.split('\n').every((line) => line.length <= 120),
      'a long list stands on several lines',
    );
  }
});

test('the same for programs', async () => {
  const { config, origins } = await load(richToml, 'a.toml');
  const json = JSON.parse(printJson(config, origins, 'a.toml')) as {
    ok: boolean;
    file: string;
    config: Record<string, Record<string, unknown>> & { network: Record<string, unknown>[] };
    origins: Record<string, string>;
  };
  assert.equal(json.ok, true);
  assert.equal(json.file, 'a.toml');
  assert.equal(json.config['gateway']?.['drain'], '30s');
  assert.deepEqual(json.config['filters']?.['gtube'], { finding: 'defer', failure: 'defer' });
  assert.equal(json.config.network.length, 2);
  assert.equal(json.config.network[1]?.['name'], 'servers');
  assert.equal(json.origins['network[1].fail'], 'a.toml:22');
  assert.equal(json.origins['gateway.drain'], 'default');
  assert.equal(json.config['gateway']['workers'], config.gateway.workers);
  assert.equal('ca_file' in (json.config['smarthost'] ?? {}), false);
});

test('texts and lists are TOML whatever is in them', () => {
  for (const value of [
    '',
    'a"b\\c',
    'tab\tnew\nline',
    '\u0000\u001f\u007f\u0085',
    'ünï😀',
    [],
    ['a', 'b'],
    Array.from({ length: 50 }, (_, i) => `e${i}`),
    3,
    true,
  ]) {
    const parsed: unknown = parse(`x = ${tomlValue(value)}\n`)['x'];
    assert.deepEqual(parsed, value);
  }
});

test('the example is a good configuration once its placeholders are real', async () => {
  const { config, origins } = await load(exampleToml(), 'example.toml');
  const set = [...origins].filter(([, { line }]) => line !== undefined).map(([key]) => key);
  const placeholders = [
    'gateway.name',
    'intercept.inside',
    'smarthost.servers',
    'network[0].name',
    'network[0].prefixes',
  ];
  assert.deepEqual(set, placeholders, 'what is set are the required keys and nothing else');
  assert.equal(config.network.length, 1);
});

test('the example shows every key, and what is in comments is good as well', async () => {
  const open = exampleToml().replaceAll(/^#(?=[a-z0-9_]+ = |\[|  "|\])/gm, '');
  const { origins } = await load(open, 'example.toml');
  for (const [key, { line }] of origins) assert.ok(line !== undefined, `${key} is not in the example`);
});

test('every key, table and rule has its doc', () => {
  const all = sections(schema.fields);
  assert.ok(all.length >= 10);
  for (const { path, doc, fields } of all) {
    assert.match(doc, /^[A-Z].{10,}\.$/, path);
    for (const [key, field] of fields) assert.match(field.doc, /^["A-Z].*[."]$/, `${path}.${key}: ${field.doc}`);
  }
  for (const { doc } of rules) assert.match(doc, /^[A-Z`].{10,}\.$/, doc);
});

test('each setting of an outgoing user has a row in docs/config.md: keys that there are, or why there is none', () => {
  const known = new Set(
    [...sections(schema.fields)].flatMap(({ path, fields }) => fields.map(([key]) => `${path}.${key}`)),
  );
  assert.ok(ELSEWHERE.length >= 20);
  for (const [setting, here] of ELSEWHERE) {
    const keys = [...here.matchAll(/`([a-z_.]+)`/g)].map(([, key]) => key ?? '').filter((key) => key !== 'lock.set');
    for (const key of keys) assert.ok(known.has(key), `${setting}: there is no key ${key}`);
    assert.ok(keys.length > 0 || here.startsWith('none'), `${setting}: no key and no reason`);
  }
});

test('docs/config.md is what the schema says (POSTERN_UPDATE_GOLDEN=1 writes it anew)', () => {
  const file = join(import.meta.dirname, '../../../docs/config.md');
  if (process.env['POSTERN_UPDATE_GOLDEN'] === '1') writeFileSync(file, configMarkdown());
  assert.equal(readFileSync(file, 'utf8'), configMarkdown());
  for (const { header, fields } of sections(schema.fields)) {
    assert.ok(configMarkdown().includes(`## \`${header}\``));
    for (const [key] of fields) assert.ok(configMarkdown().includes(`| \`${key}\` |`), key);
  }
});
