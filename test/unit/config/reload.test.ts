/** SIGHUP: a good file is applied, a bad one changes nothing and is heard of. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { createReloader } from '../../../src/config/reload.ts';
import type { Config } from '../../../src/config/schema.ts';
import type { Fields, Level, Log } from '../../../src/kit/log.ts';
import { fakeOutside, goodToml } from './outside.fake.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-reload-'));
after(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'postern.toml');

class MemoryLog implements Log {
  readonly lines: [Level, string, Fields | undefined][] = [];

  write(level: Level, event: string, fields?: Fields): void {
    this.lines.push([level, event, fields]);
  }

  get events(): string[] {
    return this.lines.map(([level, event]) => `${level} ${event}`);
  }
}

async function running(text = goodToml): Promise<Config> {
  const result = await parseConfig(text, 'x');
  assert.ok(result.ok);
  return result.config;
}

test('a valid file is applied', async () => {
  const [log, applied] = [new MemoryLog(), [] as Config[]];
  const reload = createReloader(file, await running(), log, (config) => void applied.push(config));
  writeFileSync(file, goodToml.replace('customers', 'clients'));
  await reload();
  assert.deepEqual(
    applied.map(({ network }) => network[0]?.name),
    ['clients'],
  );
  assert.equal(reload.errors, 0);
  assert.deepEqual(log.events, ['info config.reloaded']);
});

test('an invalid file changes nothing: every error is logged, the counter rises; then a valid one is applied', async () => {
  const [log, applied] = [new MemoryLog(), [] as Config[]];
  const reload = createReloader(file, await running(), log, (config) => void applied.push(config));
  writeFileSync(file, goodToml.replace('lan0', 'lan+').replace('198.51.100.0', '198.51.100.1'));
  await reload();
  assert.deepEqual(applied, []);
  assert.equal(reload.errors, 1);
  assert.deepEqual(log.events, ['error config.invalid', 'error config.invalid', 'error config.kept']);
  const [, , fields] = log.lines[0] ?? [];
  assert.deepEqual(
    { ...fields, expected: undefined },
    { file, line: 5, key: 'intercept.inside[0]', value: '"lan+"', expected: undefined },
  );
  rmSync(file);
  await reload();
  assert.equal(reload.errors, 2, 'a file that is gone counts as well');
  writeFileSync(file, goodToml);
  await reload();
  assert.equal(applied.length, 1);
  assert.equal(reload.errors, 2);
});

test('keys that need a restart keep their value, and the log says so each time; the rest is applied', async () => {
  const [log, applied] = [new MemoryLog(), [] as Config[]];
  const now = await running(goodToml.replace('[gateway]\n', '[gateway]\nworkers = 2\n'));
  const reload = createReloader(file, now, log, (config) => void applied.push(config));
  const next = goodToml
    .replace('[gateway]\n', '[gateway]\nworkers = 3\nstate_dir = "/srv/a"\nrun_dir = "/srv/b"\ndrain = "7s"\n')
    .replace('[intercept]\n', '[intercept]\nport = 2626\nconnection_burst = 77\n');
  writeFileSync(file, `${next}[panel]\nlisten = "127.0.0.1:8026"\n[metrics]\nlisten = "127.0.0.1:9126"\n`);
  await reload();
  await reload();
  for (const config of applied) {
    assert.deepEqual(config.gateway, { ...now.gateway, drain: 7000 });
    assert.deepEqual(config.intercept, { ...now.intercept, connectionBurst: 77 });
    assert.deepEqual([config.panel, config.metrics], [now.panel, now.metrics]);
  }
  assert.equal(applied.length, 2);
  const keys = log.lines.flatMap(([, event, fields]) => (event === 'config.needs-restart' ? [fields?.['key']] : []));
  const six = [
    'gateway.state_dir',
    'gateway.run_dir',
    'gateway.workers',
    'intercept.port',
    'panel.listen',
    'metrics.listen',
  ];
  assert.deepEqual(keys, [...six, ...six]);
  assert.equal(reload.errors, 0);
});

test('the first network or subscriber with egress = "preserve" needs a restart: the reload is refused', async () => {
  const preserve = 'egress = "preserve"\n';
  const one = '[[subscriber]]\nname = "web"\nprefixes = ["198.51.100.17"]\n';
  const log = new MemoryLog();
  let applied = 0;
  const reload = createReloader(file, await running(), log, () => void applied++);
  for (const next of [`${goodToml}${preserve}`, `${goodToml}${one}${preserve}`]) {
    writeFileSync(file, next);
    await reload();
  }
  assert.deepEqual([applied, reload.errors], [0, 2]);
  assert.deepEqual(log.events.slice(0, 2), ['error config.refused', 'error config.kept']);
  assert.match(
    String(log.lines[0]?.[2]?.['error']),
    /^egress = "preserve": the first network or subscriber .* restart/,
  );

  // Whoever was started with it has what it needs, also when it was gone for a while.
  const kept = createReloader(file, await running(`${goodToml}${preserve}`), log, () => void applied++);
  for (const next of [goodToml, `${goodToml}${one}${preserve}`]) {
    writeFileSync(file, next);
    await kept();
  }
  assert.deepEqual([applied, kept.errors], [2, 0]);
});

test('what cannot be applied counts as an error and leaves the next reload possible', async () => {
  const log = new MemoryLog();
  let fail = true;
  const reload = createReloader(file, await running(), log, () => {
    if (fail) throw new Error('no such set');
  });
  writeFileSync(file, goodToml);
  await reload();
  assert.equal(reload.errors, 1);
  assert.deepEqual(log.lines, [['error', 'config.not-applied', { error: 'Error: no such set' }]]);
  fail = false;
  await reload();
  assert.deepEqual(log.events, ['error config.not-applied', 'info config.reloaded']);
});

test('signals while a reload runs lead to one more, with the last state of the file', async () => {
  const applied: (string | undefined)[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
  const reload = createReloader(file, await running(), new MemoryLog(), async ({ network }) => {
    applied.push(network[0]?.name);
    enter();
    await gate;
  });
  writeFileSync(file, goodToml.replace('customers', 'first'));
  const first = reload();
  await entered;
  const more = ['second', 'third', 'last'].map((name) => {
    writeFileSync(file, goodToml.replace('customers', name));
    return reload();
  });
  open();
  await Promise.all([first, ...more]);
  assert.deepEqual(applied, ['first', 'last']);
});

test('a role checks the text alone unless it says more', async () => {
  const text = goodToml.replace('smtp.example.net', 'not-there.example.net');
  writeFileSync(file, text);
  const relaxed = createReloader(file, await running(), new MemoryLog(), () => {});
  await relaxed();
  assert.equal(relaxed.errors, 0);
  const strict = createReloader(file, await running(), new MemoryLog(), () => {}, fakeOutside);
  await strict();
  assert.equal(strict.errors, 1);
});
