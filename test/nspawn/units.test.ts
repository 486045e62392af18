/** The unit files as text: their sandboxes' scores, and that those things agree which nothing else makes agree. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runPaths } from '../../src/kit/run-dir.ts';
import { NODE_FLAGS } from '../../src/roles/launch.ts';
import { installUnits } from '../../systemd/install.ts';

const systemd = join(import.meta.dirname, '../../systemd');
const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;
let root = '';
before(() => {
  root = mkdtempSync(join(tmpdir(), 'postern-units-'));
  installUnits(root);
});
after(() => rmSync(root, { recursive: true }));

/** Highest exposure, in tenths. */
const SCORES = {
  'postern-worker@1.service': 15,
  'postern-keeper.service': 15,
  'postern-guard.service': 20,
  'postern-rules.service': 20,
} as const;

for (const [unit, atMost] of Object.entries(SCORES))
  test(`${unit} scores at most ${atMost / 10}`, { skip: hasAnalyze ? false : 'needs systemd-analyze' }, () => {
    const args = ['security', '--offline=yes', `--root=${root}`, `--threshold=${atMost}`, '--no-pager', unit];
    const ran = spawnSync('systemd-analyze', args, { encoding: 'utf8', timeout: 120_000 });
    assert.equal(
      ran.status,
      0,
      ran.stdout
        .split('\n')
        .filter((line) => !line.startsWith('✓'))
        .join('\n') + ran.stderr,
    );
    const score = /Overall exposure level for \S+ (\d+\.\d)/.exec(ran.stdout)?.[1];
    assert.ok(Number(score) * 10 <= atMost, `${score}`);
  });

test('each unit starts Node as the supervisor does', () => {
  for (const unit of readdirSync(systemd).filter((name) => name.endsWith('.service'))) {
    const start = /^ExecStart=(.*)$/m.exec(readFileSync(join(systemd, unit), 'utf8'))?.[1] ?? '';
    assert.ok(start.startsWith(`/usr/lib/postern/node ${NODE_FLAGS.join(' ')} `), `${unit}: ${start}`);
  }
});

test('run_dir is made as the roles expect it', () => {
  const text = readFileSync(join(systemd, 'postern.tmpfiles'), 'utf8');
  const { keeperDir, keeperSocket, keeperListen, spoolDir, probe } = runPaths('/run/postern');
  assert.ok(text.includes(`d ${keeperDir} 2750 postern-keeper postern\n`));
  assert.ok(text.includes(`d ${spoolDir} 0700 postern-worker postern-worker\n`));
  assert.ok(text.includes(`L+ ${keeperSocket} - - - - ${keeperListen.slice('/run/postern/'.length)}\n`));
  assert.ok(
    readFileSync(join(systemd, 'postern-worker@.socket'), 'utf8').includes(
      `ListenStream=${probe(0).replace('0', '%i')}\n`,
    ),
  );
});

test('the generator and its wrapper are scripts that sh takes', () => {
  execFileSync('sh', ['-n', join(systemd, 'postern-generator')]);
});
