/** From text and file to the effective configuration. Refusals with their messages: bad-config.test.ts. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { type LoadResult, loadConfig, parseConfig } from '../../../src/config/load.ts';
import { schema } from '../../../src/config/schema.ts';
import { sections } from '../../../src/config/toml.ts';
import { seed } from '../../kit/tier.ts';
import { fakeOutside, goodToml } from './outside.fake.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-load-'));
after(() => rmSync(directory, { recursive: true }));

function good(result: LoadResult): LoadResult & { ok: true } {
  assert.ok(result.ok, result.ok ? '' : result.errors.map(({ message }) => message).join('\n'));
  return result;
}

function messages(result: LoadResult): string[] {
  return result.ok ? [] : result.errors.map(({ message }) => message);
}

test('the least configuration is filled with every default, in the units of code', async () => {
  const { config } = good(await parseConfig(goodToml, 'good.toml', fakeOutside));
  assert.equal(config.gateway.name, 'gw1.example.net');
  assert.equal(config.gateway.stateDir, '/var/lib/postern');
  assert.equal(config.gateway.drain, 30_000);
  assert.equal(config.intercept.port, 2525);
  assert.equal(config.intercept.connectionRate, 50);
  assert.deepEqual(config.exemptTo, []);
  assert.equal(config.smarthost.tls, 'verify');
  assert.equal(config.smarthost.username, undefined);
  assert.deepEqual(config.smarthost.servers, [
    { host: 'smtp.example.net', port: 587, isAddress: false, text: 'smtp.example.net:587' },
  ]);
  assert.equal(config.limits.messageSize, 50 * 1024 * 1024);
  assert.equal(config.filters.header.missingDate, 'ignore');
  assert.equal(config.network.length, 1);
  const [network] = config.network;
  assert.equal(network?.mode, 'enforce');
  assert.deepEqual(
    network.prefixes.map(({ text }) => text),
    ['198.51.100.0/24', '2001:db8:1::/48'],
  );
  assert.equal(config.panel.listen.text, '127.0.0.1:8025');
});

test('workers = "auto" is the number of processors, a number is that number', async () => {
  assert.equal(good(await parseConfig(goodToml, 'x')).config.gateway.workers, Math.min(availableParallelism(), 64));
  const three = goodToml.replace('[gateway]\n', '[gateway]\nworkers = 3\n');
  assert.equal(good(await parseConfig(three, 'x')).config.gateway.workers, 3);
});

test('each value knows its line, each default that it is one', async () => {
  const { origins } = good(await parseConfig(goodToml, 'x'));
  assert.deepEqual(origins.get('gateway.name'), { written: 'gw1.example.net', line: 2 });
  assert.deepEqual(origins.get('network[0].name'), { written: 'customers', line: 11 });
  assert.deepEqual(origins.get('gateway.drain'), { written: '30s', line: undefined });
  assert.deepEqual(origins.get('smarthost.ca_file'), { written: undefined, line: undefined });
});

test('the password is never in the configuration, only the path of its file', async () => {
  const file = join(directory, 'password');
  writeFileSync(file, 'correct horse', { mode: 0o600 });
  const text = goodToml.replace('[[network]]', `username = "gw1"\npassword_file = "${file}"\n[[network]]`);
  const result = good(
    await parseConfig(text, 'x', {
      file: async () => ({ readable: true, mode: 0o600, sizeBytes: 13, hasMark: false }),
    }),
  );
  assert.equal(result.config.smarthost.passwordFile, file);
  const all = JSON.stringify([result.config, [...result.origins]], (_, v: unknown) =>
    typeof v === 'bigint' ? `${v}` : v,
  );
  assert.ok(!all.includes('correct horse'));
});

test('a text alone asks no name server and opens no file', async () => {
  const text = goodToml.replace(
    '[[network]]',
    'username = "gw1"\npassword_file = "/nowhere"\nca_file = "/nowhere"\n[[network]]',
  );
  good(await parseConfig(text.replace('smtp.example.net', 'not-there.example.net'), 'x'));
});

test('names are looked up once each and all at the same time; addresses are not looked up', async () => {
  const asked: string[] = [];
  const { promise: all, resolve: allAsked } = Promise.withResolvers<void>();
  const servers = '["a.example.net:25", "192.0.2.1:25", "b.example.net:25", "[2001:db8::1]:25", "c.example.net:25"]';
  const text = goodToml.replace('["smtp.example.net:587"]', servers);
  // Each answer waits until all three have been asked: one after the other would never end.
  const resolve = async (name: string): Promise<string[]> => {
    asked.push(name);
    if (asked.length === 3) allAsked();
    await all;
    return ['192.0.2.25'];
  };
  good(await parseConfig(text, 'x', { resolve }));
  assert.deepEqual(asked.toSorted(), ['a.example.net', 'b.example.net', 'c.example.net']);
});

test('a server that is this gateway is known by name as well', async () => {
  for (const server of ['localhost:2525', 'GW1.example.net:2525', '0.0.0.0:2525']) {
    const result = await parseConfig(goodToml.replace('smtp.example.net:587', server), 'x');
    assert.match(messages(result).join(), /^x:8: smarthost.servers\[0\] = .* expected another server/, server);
  }
});

test('an error has its parts and the same in one line', async () => {
  const result = await parseConfig(goodToml.replace('lan0', 'lan+'), 'postern.toml');
  assert.ok(!result.ok);
  const [error] = result.errors;
  assert.deepEqual(
    { ...error, expected: undefined, message: undefined },
    {
      file: 'postern.toml',
      line: 5,
      key: 'intercept.inside[0]',
      value: '"lan+"',
      expected: undefined,
      message: undefined,
    },
  );
  assert.equal(error?.message, `postern.toml:5: intercept.inside[0] = "lan+": expected ${error?.expected}`);
});

test('a file that is not there, is none, or is too large is refused by name', async () => {
  const absent = join(directory, 'absent.toml');
  assert.deepEqual(messages(await loadConfig(absent, {})), [
    `${absent}: expected a file that can be read: there is no such file; "postern config --example" prints one to begin with`,
  ]);
  assert.deepEqual(messages(await loadConfig(directory, {})), [
    `${directory}: expected a configuration file; this is no regular file`,
  ]);
  const large = join(directory, 'large.toml');
  writeFileSync(large, `${goodToml}#${'x'.repeat(4 * 1024 * 1024)}`);
  assert.match(
    messages(await loadConfig(large, {}))[0] ?? '',
    /expected a file of at most 4194304 bytes; it has 4194\d\d\d/,
  );
});

test('a good file loads', async () => {
  const file = join(directory, 'good.toml');
  writeFileSync(file, goodToml);
  good(await loadConfig(file, fakeOutside));
});

/** What no field takes. */
const WRONG = '{ not = "this" }';

test('a wrong type at any key of the schema is reported at that key and its line', async () => {
  let tried = 0;
  for (const { path, isList, fields } of sections(schema.fields)) {
    for (const [key] of fields) {
      const text = withKey(path, isList, key, WRONG);
      const result = await parseConfig(text, 'x');
      assert.ok(!result.ok, `${path}.${key}`);
      const full = `${path}${isList ? '[0]' : ''}.${key}`;
      const line = text.split('\n').indexOf(`${key} = ${WRONG}`) + 1;
      assert.deepEqual(
        result.errors.map((error) => [error.key, error.line]),
        [[full, line]],
        full,
      );
      tried++;
    }
  }
  assert.ok(tried > 50, `${tried} keys`);
});

test('every default and every example in the schema is taken by its own field', () => {
  for (const { path, fields } of sections(schema.fields)) {
    for (const [key, field] of fields) {
      for (const value of [field.fallback, field.example]) {
        if (value !== undefined) assert.ok('value' in field.parse(value), `${path}.${key}`);
      }
    }
  }
});

/** The good configuration with one key set to something else. */
function withKey(path: string, isList: boolean, key: string, value: string): string {
  const lines =
    `${goodToml}[[subscriber]]\nname = "web-1"\nprefixes = ["198.51.100.7"]\n[[rule]]\nname = "r"\nsender = "a"\n[[lock_rule]]\nname = "l"\nclasses = ["spam"]\ncount = 3\nwithin = "10m"\n[[step_rule]]\nname = "s"\nclasses = ["spam"]\nshare = 9\nmode = "block"\n[[exception]]\nreason = "r"\nclasses = ["spam"]\nsources = ["198.51.100.9"]\n[[exempt_to]]\nreason = "r"\nprefixes = ["192.0.2.9"]\n[[webhook]]\nname = "w"\nurl = "https://w.example/"\nsecret_file = "/etc/w"\n[[tenant]]\nname = "t"\n`.split(
      '\n',
    );
  const header = isList ? `[[${path}]]` : `[${path}]`;
  const at = lines.indexOf(header);
  if (at < 0) return `${lines.join('\n')}${header}\n${key} = ${value}\n`;
  const end = lines.findIndex((line, i) => i > at && line.startsWith('['));
  const own = lines.findIndex((line, i) => i > at && (end < 0 || i < end) && line.startsWith(`${key} = `));
  if (own < 0) lines.splice(at + 1, 0, `${key} = ${value}`);
  else lines[own] = `${key} = ${value}`;
  return lines.join('\n');
}

test('however a file is damaged, the answer is a configuration or errors with lines in it', async () => {
  const piece = fc.constantFrom(
    '"',
    '[',
    ']',
    '{',
    '}',
    '=',
    '\n',
    '#',
    ',',
    '.',
    '\\',
    'x',
    '[[',
    '"""',
    '\u0000',
    '\r',
    'é',
    '0',
    '__proto__ = 1\n',
    '[constructor]\n',
  );
  const damage = fc.record({ at: fc.nat(goodToml.length), cut: fc.nat(12), piece });
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (all) => {
      const text = all.reduce((now, { at, cut, piece: put }) => now.slice(0, at) + put + now.slice(at + cut), goodToml);
      const result = await parseConfig(text, 'x', fakeOutside);
      if (result.ok) return;
      refused++;
      const lines = text.split('\n').length;
      assert.ok(result.errors.length > 0);
      for (const { line, message } of result.errors) {
        assert.ok(line >= 1 && line <= lines, `line ${line} of ${lines}`);
        assert.match(message, /^x:\d+: [^\p{Cc}]*expected .+$/u);
      }
    }),
    { seed, numRuns: 1000 },
  );
  assert.ok(refused > 300, `${refused} of 1000 were refused`);
});

test('thousands of networks load, and thousands of faults are cut to 500 messages', async () => {
  const network = (i: number, name: string) =>
    `[[network]]\nname = "${name}"\nprefixes = ["10.${i >> 8}.${i & 255}.0/24"]\n`;
  const head = goodToml.slice(0, goodToml.indexOf('[[network]]'));
  const indices = Array.from({ length: 3000 }, (_, i) => i);
  const { config } = good(await parseConfig(head + indices.map((i) => network(i, `n${i}`)).join(''), 'x'));
  assert.equal(config.network.length, 3000);
  assert.equal(messages(await parseConfig(head + indices.map((i) => network(i, `N${i}`)).join(''), 'x')).length, 500);
});
