/** `postern rules --remove` beside a guard, each in a network namespace that ends with it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { needsRoot } from '../../kit/tier.ts';

/** Ends with its parent, whose end of the pipe is then closed. */
const GUARD = `process.title = 'postern: guard'; process.stdout.write('up'); process.stdin.resume();`;

const REMOVE = `
  const { spawn } = await import('node:child_process');
  const { once } = await import('node:events');
  const { command } = await import(process.argv[1]);
  const io = { out: (text) => console.log(text), err: (text) => console.log(text) };
  console.log('alone:');
  await command.run(['--remove'], io);
  const guard = spawn(process.execPath, ['--eval', process.argv[2]], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(guard.stdout, 'data');
  console.log('beside ' + guard.pid + ':');
  await command.run(['--remove'], io);
  guard.stdin.end();
`;

test('removing rules beside a guard that would put them back says so; a guard elsewhere is none', {
  skip: needsRoot,
}, async () => {
  const elsewhere = spawn(process.execPath, ['--eval', GUARD], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(elsewhere.stdout, 'data');
    const { stdout, stderr, status } = spawnSync(
      'unshare',
      [
        '--net',
        process.execPath,
        '--input-type=module',
        '--eval',
        REMOVE,
        import.meta.resolve('../../../src/cli/rules.ts'),
        GUARD,
      ],
      { encoding: 'utf8', timeout: 300_000 },
    );
    assert.equal(status, 0, stderr);
    const nothing = 'Nothing of ours is in the kernel.';
    const [, pid = ''] = /^beside (\d+):/m.exec(stdout) ?? [];
    assert.equal(
      stdout,
      `alone:\n${nothing}\nbeside ${pid}:\n${nothing}\n` +
        `postern rules: a guard runs here (process ${pid}) and puts the rules back within 5 s. Stop the gateway first:\n` +
        'systemctl stop postern.target (from a checkout: Ctrl-C to "postern run"), then postern rules --remove\n',
    );
  } finally {
    elsewhere.stdin.end();
  }
});
