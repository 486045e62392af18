/** The package's postinst: who says in its time that workers live, and that he stops whatever becomes of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { until } from '../../kit/wait.ts';

const postinst = readFileSync(join(import.meta.dirname, '../../../appliance/deb/postinst'), 'utf8');

type Fakes = {
  /** what `systemctl try-restart` does; the script is $PPID */
  readonly restart: string;
  readonly add?: string;
  readonly sleep?: string;
};

/** An upgrade with everything that it calls played. */
function upgrade(t: TestContext, { restart, add = 'exit 0', sleep = 'exit 0' }: Fakes) {
  const dir = mkdtempSync(join(tmpdir(), 'postern-postinst-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const said = join(dir, 'said');
  writeFileSync(said, '');
  const fake = (name: string, text: string): void =>
    writeFileSync(join(dir, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  for (const name of ['systemd-sysusers', 'deb-systemd-helper', 'systemd-tmpfiles', 'systemd-sysctl']) fake(name, '');
  fake('ipset', `[ "$1" = add ] || exit 0\necho "add $PPID" >>${said}\n${add}`);
  fake('systemctl', `echo "$*" >>${said}\n[ "$2 $3" = "try-restart postern-guard.service" ] || exit 0\n${restart}`);
  fake('sleep', sleep);
  const script = postinst
    .replace('/run/systemd/system', dir)
    .replace('/lib/systemd/systemd-sysctl', join(dir, 'systemd-sysctl'));
  const child = spawn('sh', ['-c', script, 'postinst', 'configure', '0.1.0'], {
    env: { PATH: `${dir}:/usr/bin:/bin` },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.resume();
  return { child, lines: () => readFileSync(said, 'utf8').split('\n').filter(Boolean) };
}

/** Until one of these lines has been said; then this. */
const WHEN_FED = 'until grep -q ^add "$(dirname "$0")/said"; do :; done';

test('an upgrade goes on where nobody can be told that workers live', { timeout: 60_000 }, async (t) => {
  const { child, lines } = upgrade(t, { restart: `${WHEN_FED}\n/bin/sleep 0.1`, add: 'exit 1' });
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.match(lines().at(-1) ?? '', /^list-units /, 'to the workers');
});

for (const [signal, code] of [
  ['INT', 130],
  ['TERM', 143],
] as const)
  test(`SIG${signal} ends who says that workers live`, { timeout: 120_000 }, async (t) => {
    const restart = `${WHEN_FED}\nkill -${signal} $PPID`;
    const { child, lines } = upgrade(t, { restart, sleep: 'exec /bin/sleep 5 >/dev/null' });
    assert.deepEqual(await once(child, 'exit'), [code, null]);
    const pid = /^add (\d+)$/.exec(lines().find((line) => line.startsWith('add')) ?? '')?.[1] ?? '';
    const isGone = (): boolean => {
      try {
        return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      } catch {
        return true;
      }
    };
    await until(isGone, 'the feeder ends', 60_000);
  });

test('where the script is killed he stops after 60 times', { timeout: 60_000 }, async (t) => {
  const { child, lines } = upgrade(t, { restart: `${WHEN_FED}\nkill -KILL $PPID` });
  // All who have its output are gone.
  await once(child, 'close');
  assert.equal(lines().filter((line) => line.startsWith('add')).length, 60);
});
