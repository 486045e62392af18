/**
 * The headline of TLS parity, with egress "preserve" through the real kernel: the server sees the host's own address, both
 * legs have TLS, and the filter is in between all the same.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PLACES } from '../../src/lab/network.ts';
import type { Attempt } from '../../src/record/events.ts';
import type { FakeEvent } from '../fake/upstream.ts';
import type { Box } from '../interop/box.ts';
import { machine, OPTIONS } from '../interop/machine.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { onLines, startWhole, type Whole } from '../kit/whole.ts';

const MX = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
const HOST = PLACES.hosts[0];
const TABLES = { network: 'egress = "preserve"', more: '[preserve]\nconnect_timeout = "5s"\nreply_timeout = "5s"' };
/** It has no TLS in any test. */
const NEVER = PLACES.smarthost.v4;
const FAMILIES = [
  ['v4', PLACES.direct.v4],
  ['v6', PLACES.direct.v6],
] as const;
const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');

describe('preserve with TLS', { skip: needsRoot, timeout: 300_000 }, () => {
  let whole: Whole;
  let mx: ChildProcess | undefined;
  let box: Box;
  const seen: FakeEvent[] = [];

  /** At both addresses of the server that hosts call, and at another one. */
  async function startMx(...more: string[]): Promise<void> {
    if (mx) {
      mx.kill('SIGKILL');
      await once(mx, 'close');
    }
    seen.length = 0;
    const places = [`${PLACES.direct.v4}:25`, `[${PLACES.direct.v6}]:25`, `${NEVER}:25`];
    const listen = places.flatMap((place) => ['--listen', place]);
    mx = whole.network.internet.spawn(process.execPath, [MX, ...listen, ...more], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onLines(mx, (line) => seen.push(JSON.parse(line) as FakeEvent));
    await until(() => seen.filter(({ event }) => event === 'listening').length === 3, 'the MX');
    seen.length = 0;
  }

  const pcap = (): string => join(whole.directory, 'pcap');
  const tlsDir = (): string => join(whole.directory, 'mx');

  before(async () => {
    whole = await startWhole({ tables: TABLES });
    mkdirSync(tlsDir());
    box = await machine(whole.network.inside, 'clients', '');
    const options = ['-i', 'eth0', '-U', '--immediate-mode', '-s', '0', '-w', pcap()];
    const capture = whole.network.internet.spawn('tcpdump', options, { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(createInterface(capture.stderr as NodeJS.ReadableStream), 'line');
  });
  after(async () => {
    await box.close();
    await whole.close();
  });

  /** In a box: TLS in swaks needs a module that not every machine has. */
  async function swaks(to: string, body: string, ...more: string[]): Promise<{ stdout: string; code: number }> {
    const args = [
      ...['--server', to.includes(':') ? `[${to}]` : to, '--helo', 'host.example.org', '--from', 'a@example.org'],
      ...['--to', 'b@example.net', '--body', body, ...more],
    ];
    const { stdout } = await box.run(['sh', '-c', 'swaks "$@" 2>&1; echo "status $?"', 'sh', ...args], OPTIONS);
    return { stdout, code: Number(/^status (\d+)$/m.exec(stdout)?.[1]) };
  }

  for (const [family, to] of FAMILIES) {
    test(`Shows 2: over ${family} the MX sees the host's own address, and TLS on both legs; GTUBE inside TLS is refused 5xx`, async () => {
      await startMx('--tls', tlsDir(), '--name', `IP:${to}`);
      const ran = await swaks(to, `MARKER.${family}.tls`, '--tls');
      assert.equal(ran.code, 0, ran.stdout);
      assert.match(ran.stdout, /^=== TLS started with cipher TLSv1\.3:/m);
      const [connect] = seen.filter(({ event }) => event === 'connect');
      assert.equal(connect?.event === 'connect' && connect.remote, HOST[family]);
      const [message] = seen.filter(({ event }) => event === 'message');
      assert.equal(message?.event === 'message' && message.isEncrypted, true);

      seen.length = 0;
      const refused = await swaks(to, GTUBE, '--tls');
      assert.match(refused.stdout, /^<~\* 550 5\.7\.1 .*spam\.gtube/m);
      assert.deepEqual(
        seen.filter(({ event }) => event === 'message'),
        [],
      );

      let last: Attempt | undefined;
      while (last?.class !== 'spam.gtube') {
        const { stdout } = await whole.gateway.postern('log', '--json', '--limit', '1');
        last = JSON.parse(stdout.trim() || '{}') as Attempt;
      }
      assert.deepEqual([last.egress, last.tls?.version, last.upstreamTls], ['preserve', 'TLSv1.3', 'TLSv1.3']);
    });
  }

  test('a host in clear goes on over TLS, where the MX has it', async () => {
    assert.equal((await swaks(PLACES.direct.v6, 'MARKER.upgraded')).code, 0);
    const message = seen.findLast(({ event }) => event === 'message');
    assert.equal(message?.event === 'message' && message.isEncrypted, true);
  });

  test('an MX that never had TLS: STARTTLS is not offered, and who asks for it keeps his mail', async () => {
    await startMx();
    const ran = await swaks(NEVER, 'MARKER.wanted', '--tls');
    assert.doesNotMatch(ran.stdout, /^<-. +250[- ]STARTTLS/m);
    assert.notEqual(ran.code, 0);
    assert.equal((await swaks(NEVER, 'MARKER.clear')).code, 0);
  });

  test('Shows 1: an MX that stops offering STARTTLS between two connections is not spoken to in clear: 4.7.x', async () => {
    seen.length = 0;
    for (const [family, to] of FAMILIES)
      for (const more of [[], ['--tls']]) {
        const ran = await swaks(to, `MARKER.${family}.stopped`, ...more);
        assert.match(ran.stdout, /^<\*\* 4\d\d 4\.7\.\d .*upstream\.tls/m);
        assert.notEqual(ran.code, 0);
      }
    assert.ok(!seen.some((one) => one.event === 'command' && one.line.startsWith('MAIL')));
  });

  test('Shows 1: an MX that offers STARTTLS and then refuses it is not spoken to in clear: 4.7.x', async () => {
    await startMx('--tls', tlsDir(), '--name', `IP:${PLACES.direct.v4}`, '--fault', 'starttls=454 4.7.0 not now');
    for (const more of [[], ['--tls']]) {
      const ran = await swaks(PLACES.direct.v4, 'MARKER.refused', ...more);
      assert.match(ran.stdout, /^<\*\* 4\d\d 4\.7\.\d .*upstream\.tls/m);
      assert.notEqual(ran.code, 0);
    }
    assert.ok(!seen.some((one) => one.event === 'command' && one.line.startsWith('MAIL')));
  });

  test('Shows 1: a marker that was sent over TLS, or to an MX with TLS, is never seen in clear on the internet side', async () => {
    const holds = (word: string): boolean => readFileSync(pcap()).includes(word);
    await until(() => holds('MARKER.clear'), 'the capture is whole');
    for (const word of ['v4.tls', 'v6.tls', 'upgraded', 'wanted', 'v4.stopped', 'v6.stopped', 'refused'])
      assert.equal(holds(`MARKER.${word}`), false, word);
    const { stdout } = await whole.network.gateway.run('curl', ['-s', 'http://127.0.0.1:9125/metrics']);
    assert.match(stdout, /^postern_tls_downgrades_total 0$/m);
    assert.match(stdout, /^postern_tls_messages_total\{in="TLSv1\.3",out="TLSv1\.3"\} [1-9]/m);
  });
});
