/** deploy/: what Prometheus and Grafana are given is right, and speaks of metrics that exist. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const top = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(top, 'deploy', path), 'utf8');
const promtool = (...args: readonly string[]): { readonly status: number | null; readonly said: string } => {
  const { status, stdout, stderr } = spawnSync('promtool', [...args], {
    cwd: join(top, 'deploy/prometheus'),
    encoding: 'utf8',
  });
  return { status, said: stdout + stderr };
};

/** Every metric that there is, with its labels: docs/operate.md names them all, which another test holds it to. */
const known = new Map(
  [...readFileSync(join(top, 'docs/operate.md'), 'utf8').matchAll(/^\| `(postern_\w+)` \| ([^|]*) \|/gm)].map(
    ([, name = '', labels = '']) => [name, labels.split(',').map((each) => each.trim())] as const,
  ),
);
const recorded = new Set([...read('prometheus/recording.yml').matchAll(/record: (\S+)/g)].map(([, name]) => name));

function unknownIn(text: string): readonly string[] {
  const names = [...text.matchAll(/\bpostern[_:][\w:]+/g)].map(([name]) => name);
  assert.ok(names.length > 0);
  return names.filter((name) => !known.has(name.replace(/_bucket$/, '')) && !recorded.has(name));
}

test('promtool takes the scrape configuration and the rules, and the rules do what their tests say', () => {
  assert.deepEqual(promtool('check', 'config', 'scrape.yml').status, 0);
  assert.deepEqual(promtool('check', 'rules', 'recording.yml', 'alerts.yml').status, 0);
  const tested = promtool('test', 'rules', 'rules.test.yml');
  assert.equal(tested.status, 0, tested.said);
});

test('rules and dashboard name metrics that exist, and no other', () => {
  for (const file of [
    'prometheus/recording.yml',
    'prometheus/alerts.yml',
    'prometheus/rules.test.yml',
    'grafana/postern.json',
  ])
    assert.deepEqual(unknownIn(read(file)), [], file);
  assert.deepEqual(unknownIn('expr: postern_nonsense_total'), ['postern_nonsense_total'], 'a planted one is seen');
});

type Panel = {
  readonly title: string;
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
  readonly targets: readonly { readonly expr: string }[];
};

test('the dashboard: each panel in a place of its own, each expression right', () => {
  const { panels } = JSON.parse(read('grafana/postern.json')) as { readonly panels: readonly Panel[] };
  const taken = new Set<string>();
  const expressions: string[] = [];
  for (const { title, gridPos, targets } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!taken.has(`${x} ${y}`) && x < 24, title);
        taken.add(`${x} ${y}`);
      }
    for (const { expr } of targets)
      expressions.push(
        expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '5m').replaceAll('$__range', '1h'),
      );
  }
  // Written as rules, since that is what promtool looks at.
  const rules = (some: readonly string[]): string =>
    JSON.stringify({ groups: [{ name: 'x', rules: some.map((expr, i) => ({ record: `x:${i}`, expr })) }] });
  const directory = mkdtempSync(join(tmpdir(), 'postern-test-'));
  try {
    const file = join(directory, 'rules.yml');
    writeFileSync(file, rules(expressions));
    const checked = promtool('check', 'rules', file);
    assert.equal(checked.status, 0, checked.said);
    writeFileSync(file, rules(['sum(']));
    assert.notEqual(promtool('check', 'rules', file).status, 0, 'a planted fault is seen');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
