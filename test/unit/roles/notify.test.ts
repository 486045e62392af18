import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { createNotifier, watchdogBeatMs } from '../../../src/roles/notify.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-notify-'));
after(() => rmSync(directory, { recursive: true }));

test('the watchdog is fed three times as often as it asks, at least each second', () => {
  assert.equal(watchdogBeatMs({ WATCHDOG_USEC: '3000000' }, 1), 1000);
  assert.equal(watchdogBeatMs({ WATCHDOG_USEC: '300000' }, 1), 100);
  assert.equal(watchdogBeatMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' }, 1), 1000);
});

test('no watchdog: not asked for, or of another process', () => {
  for (const env of [
    {},
    { WATCHDOG_USEC: '0' },
    { WATCHDOG_USEC: 'x' },
    { WATCHDOG_USEC: '3000000', WATCHDOG_PID: '2' },
  ])
    assert.equal(watchdogBeatMs(env, 1), undefined, JSON.stringify(env));
});

test('ready, beats and stopping arrive in this order, and a listener that goes away stops nothing', async () => {
  const path = join(directory, 'notify');
  // Node has no unix datagrams: Python prints what it receives.
  const script = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.settimeout(20); s.bind(sys.argv[1]); print("bound",flush=True)
while True: print(s.recv(100).decode(),flush=True)`;
  const receiver = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  after(() => receiver.kill());
  const lines = createInterface(receiver.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await lines.next()).value as string;
  assert.equal(await next(), 'bound');
  const notifier = await createNotifier({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '60000' }, 1);
  const timer = notifier.ready();
  assert.deepEqual([await next(), await next(), await next()], ['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  clearInterval(timer);
  notifier.stopping();
  assert.equal(await next(), 'STOPPING=1');
  receiver.kill();
  await once(receiver, 'exit');
  notifier.stopping();
});

test('without systemd nothing is told and nothing beats', async () => {
  const notifier = await createNotifier({ WATCHDOG_USEC: '3000000' }, 1);
  assert.equal(notifier.ready(), undefined);
  notifier.stopping();
});
