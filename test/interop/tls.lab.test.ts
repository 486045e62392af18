/**
 * Shows 1 to 3, with the egress `smarthost`: real mail servers as they ask for TLS, real kernel, real gateway, far sides with
 * and without TLS. Each outcome is the one of tls-cells.ts, nothing is lost, and no marker word that came in over TLS is
 * seen on the internet side.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { issueCertificate, newKey, toPem } from '../../src/kit/x509.ts';
import { GATEWAY_NAME, type Gateway, startGateway, untilReady } from '../../src/lab/gateway.ts';
import { createNetwork, type LabNetwork, PLACES } from '../../src/lab/network.ts';
import { type Reporter, startReporter } from '../../src/lab/reporter.ts';
import type { Attempt } from '../../src/record/events.ts';
import { makeCertificate } from '../fake/certificate.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { OPTIONS } from './machine.ts';
import type { SinkEvent } from './sink.ts';
import { type Cell, cells, EXPECTED, FAR_SIDES, type FarSide } from './tls-cells.ts';
import { type Mta, openExim, openOpenSmtpd, openPostfix, type Tried } from './tls-mtas.ts';

const DAY_MS = 86_400_000;
const SERVER = `${PLACES.smarthost.v4}:587`;
const directory = mkdtempSync(join(tmpdir(), `postern-tls-${process.pid}-`));
const path = (name: string): string => join(directory, name);

let network: LabNetwork;
let gateway: Gateway;
let names: Reporter<unknown>;
let sink: Reporter<SinkEvent> | undefined;
let capture: ChildProcess;
let mtas: Readonly<Record<Cell['mta'], Mta>>;

/** What the smarthost shows, and what the gateway is told of it. */
const FAR: Readonly<Record<FarSide, { readonly certificate: string | undefined; readonly smarthost: string }>> = {
  verified: { certificate: 'good', smarthost: `tls = "verify"\nca_file = "${path('good.pem')}"` },
  opportunistic: { certificate: 'other', smarthost: 'tls = "opportunistic"' },
  none: { certificate: undefined, smarthost: 'tls = "opportunistic"' },
  trusted: { certificate: undefined, smarthost: 'tls = "opportunistic"\ntrusted_link = true' },
  'self-signed': { certificate: 'other', smarthost: `tls = "verify"\nca_file = "${path('good.pem')}"` },
  expired: { certificate: 'expired', smarthost: `tls = "verify"\nca_file = "${path('expired.pem')}"` },
};

function config(far: FarSide): string {
  return `
[gateway]
name = "${GATEWAY_NAME}"
state_dir = "${path('state')}"
run_dir = "${path('run')}"
workers = 2
drain = "1s"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["${SERVER}"]
${FAR[far].smarthost}
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]
# All these mail servers are one host to the gateway, and each cell is one try.
verifying = "intercept"
`;
}

function expiredCertificate(): void {
  const key = newKey();
  const span = { notBeforeMs: Date.now() - 10 * DAY_MS, notAfterMs: Date.now() - DAY_MS };
  const facts = {
    name: 'expired',
    names: [PLACES.smarthost.v4],
    publicKey: createPublicKey(key),
    kind: 'server',
  } as const;
  writeFileSync(path('expired.pem'), toPem(issueCertificate({ ...facts, ...span }, { name: 'expired', key })));
  writeFileSync(path('expired.key'), key.export({ type: 'pkcs8', format: 'pem' }));
}

async function startSink(far: FarSide): Promise<void> {
  await sink?.stop();
  const { certificate } = FAR[far];
  const tls = certificate === undefined ? [] : ['--tls', path(`${certificate}.pem`), path(`${certificate}.key`)];
  const script = pathToFileURL(join(import.meta.dirname, 'sink.ts')).href;
  sink = await startReporter<SinkEvent>(network.internet, script, [SERVER, ...tls]);
}

const logged = (event: string): number => readFileSync(gateway.logPath, 'utf8').split(`"event":"${event}"`).length - 1;

/** The smarthost and the gateway become this far side; resolves when both workers have spoken to it. */
async function become(far: FarSide): Promise<void> {
  await startSink(far);
  const seen = (): number => logged('upstream.up') + logged('upstream.down');
  const before = seen();
  writeFileSync(gateway.configPath, config(far));
  process.kill(gateway.pid, 'SIGHUP');
  await until(() => seen() >= before + 2, `both workers have spoken to ${far}`);
}

before(
  async () => {
    if (needsRoot) return;
    chmodSync(directory, 0o755);
    network = await createNetwork();
    names = await startReporter(network.inside, pathToFileURL(join(import.meta.dirname, 'dns.ts')).href, []);
    makeCertificate(directory, 'good', `IP:${PLACES.smarthost.v4}`);
    const { cert: other } = makeCertificate(directory, 'other', `IP:${PLACES.smarthost.v4}`);
    expiredCertificate();
    capture = network.internet.spawn(
      'tcpdump',
      ['-i', 'eth0', '-U', '--immediate-mode', '-s', '0', '-w', path('pcap')],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    await once(createInterface(capture.stderr as NodeJS.ReadableStream), 'line');
    await startSink('verified');
    gateway = startGateway(network.gateway, directory, config('verified'));
    await untilReady(gateway, AbortSignal.timeout(120_000));
    const ours = (await gateway.postern('ca')).stdout;
    const files = { '/etc/postern-ca.pem': ours, '/etc/other-ca.pem': other };
    const [postfix, exim, opensmtpd] = await Promise.all([
      openPostfix(network.inside, files),
      openExim(network.inside, files),
      openOpenSmtpd(network.inside, files),
    ]);
    mtas = { postfix, exim, opensmtpd };
  },
  { timeout: 600_000 },
);

after(
  async () => {
    if (needsRoot) return;
    await Promise.all(Object.values(mtas).map((mta) => mta.close()));
    await gateway.stop();
    await Promise.all([names.stop(), sink?.stop()]);
    await network.destroy();
    rmSync(directory, { recursive: true, force: true });
  },
  { timeout: 300_000 },
);

/** The marker of a cell: in the body of its mail, and nowhere else. */
const marker = (far: FarSide, mta: string, policy: string): string => `MARKER.${far}.${mta}.${policy}.`;

/** The accepted message's legs in the gateway's record. */
function legsOf(to: string, attempts: readonly Attempt[]): string | undefined {
  const attempt = attempts.find(
    (one) => one.verdict === 'accept' && one.recipients.some(({ recipient }) => recipient === to),
  );
  if (!attempt) return undefined;
  const leg = (version: string | undefined): string => (version?.startsWith('TLS') ? 'tls' : (version ?? 'clear'));
  return `${leg(attempt.tls?.version)}>${leg(attempt.upstreamTls)}`;
}

async function attemptsFrom(offset: number): Promise<Attempt[]> {
  return readFileSync(gateway.logPath, 'utf8')
    .slice(offset)
    .split('\n')
    .filter((line) => line.includes('"event":"attempt"'))
    .map((line) => JSON.parse(line) as Attempt);
}

for (const [n, far] of FAR_SIDES.entries()) {
  const version = n % 2 === 0 ? 'v4' : 'v6';
  test(`Shows 2: a far side "${far}", called by IP${version}`, { skip: needsRoot, timeout: 120_000 }, async (t) => {
    await become(far);
    const from = readFileSync(gateway.logPath, 'utf8').length;
    const found = new Map<Cell, Tried>();
    const rounds = await Promise.allSettled(
      (['postfix', 'exim', 'opensmtpd'] as const).map(async (mta) => {
        const own = cells.filter((cell) => cell.mta === mta);
        const domainOf = ({ policy }: Cell): string => `${policy}.${version}.example.org`;
        const tried = await mtas[mta].round(own.map(domainOf), (domain) =>
          marker(far, mta, domain.split('.')[0] ?? ''),
        );
        for (const [i, cell] of own.entries()) found.set(cell, tried[i] as Tried);
      }),
    );
    for (const round of rounds) if (round.status === 'rejected') throw round.reason;
    // Records come once a moment.
    const addressOf = (cell: Cell): string => `${cell.mta}@${found.get(cell)?.domain}`;
    const delivered = cells.filter((cell) => found.get(cell)?.isSent).map(addressOf);
    let attempts = await attemptsFrom(from);
    await until(() => {
      void attemptsFrom(from).then((all) => (attempts = all));
      return delivered.every((to) => legsOf(to, attempts) !== undefined);
    }, 'all that was delivered is recorded');
    for (const cell of cells) {
      const { isSent, line } = found.get(cell) as Tried;
      const to = addressOf(cell);
      await t.test(`${cell.mta}, ${cell.policy}`, () => {
        const outcome = isSent
          ? legsOf(to, attempts)
          : / (?:status=bounced|\*\*) |PermFail/.test(line)
            ? 'bounced'
            : 'deferred';
        assert.equal(outcome, EXPECTED[`${cell.mta} ${cell.policy}`]?.[far], line);
        const arrived = sink?.lines.some(
          (one) => one.kind === 'message' && one.rcpts.some((rcpt) => rcpt.includes(`<${to}>`)),
        );
        assert.equal(arrived, isSent, 'it arrived, or its sender has it still');
      });
    }
  });
}

test('Shows 3: posttls-finger gets sound answers', { skip: needsRoot, timeout: 300_000 }, async () => {
  await become('verified');
  for (const [options, expected] of [
    [['-lmay'], /Untrusted TLS connection established/],
    [['-lverify', '-F', '/etc/postern-ca.pem', '-s', 'mx.v4.example.org'], /Verified TLS connection established/],
    [['-lmay', '-p', '!TLSv1.3'], /Untrusted TLS connection established.*TLSv1\.2/],
  ] as const) {
    const { stdout, stderr } = await mtas.postfix.run(['posttls-finger', '-c', ...options, 'v4.example.org'], OPTIONS);
    assert.match(stdout + stderr, expected);
  }
});

test('Shows 1: no marker that came in over TLS is seen on the internet side; those in clear are', {
  skip: needsRoot,
}, async () => {
  const seen = (word: string): boolean => readFileSync(path('pcap')).includes(word);
  const inClear = (far: FarSide, { mta, policy }: Cell): boolean =>
    ['clear>clear', 'tls>trusted'].includes(EXPECTED[`${mta} ${policy}`]?.[far] ?? '');
  // What was in clear is there to be found, so the capture is whole: that what was not is not there says something.
  await until(
    () =>
      FAR_SIDES.every((far) => cells.every((cell) => !inClear(far, cell) || seen(marker(far, cell.mta, cell.policy)))),
    'the capture is whole',
  );
  for (const far of FAR_SIDES)
    for (const cell of cells)
      assert.equal(seen(marker(far, cell.mta, cell.policy)), inClear(far, cell), `${far}: ${cell.mta} ${cell.policy}`);
  const metrics = (await network.gateway.run('curl', ['-s', 'http://127.0.0.1:9125/metrics'])).stdout;
  assert.match(metrics, /^postern_tls_downgrades_total 0$/m);
  assert.match(metrics, /^postern_tls_messages_total\{in="TLSv1\.3",out="trusted"\} [1-9]/m);
});
