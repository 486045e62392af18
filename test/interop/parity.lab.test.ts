/**
 * Shows 2, with both egresses: real mail servers as they ask for TLS, DANE and certificates, real kernel, real gateway, a
 * signed zone, unbound, MTA-STS over HTTPS. Each sender tries twice, the second time by its own flush; each outcome is the one
 * of parity-cells.ts, and nothing is lost. IPv4 is `preserve`, IPv6 is `smarthost`, at the same time.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
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
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import type { Box } from './box.ts';
import { type Cell, cells, POLICY_SERVER, serverOf } from './parity-cells.ts';
import type { FarFile } from './parity-far.ts';
import type { SinkEvent, SinkMessage } from './sink.ts';
import { type Asked, type Batch, type Mta, openExim, openOpenSmtpd, openPostfix, type Tried } from './tls-mtas.ts';
import { signZone, startUnbound } from './zone.ts';

const DAY_MS = 86_400_000;
const directory = mkdtempSync(join(tmpdir(), `postern-parity-${process.pid}-`));
const path = (name: string): string => join(directory, name);

let network: LabNetwork;
let gateway: Gateway;
let far: Reporter<SinkEvent>;
let capture: ChildProcess;
let resolvers: readonly Box[];
let mtas: Readonly<Record<Cell['mta'], Mta>>;

const key = newKey();
const publicKey = createPublicKey(key);
const root = { name: 'far root', key: newKey() };
const NOW = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS };
const OVER = { notBeforeMs: Date.now() - 10 * DAY_MS, notAfterMs: Date.now() - DAY_MS };
const rootPem = toPem(
  issueCertificate({ name: root.name, publicKey: createPublicKey(root.key), kind: 'root', ...NOW }, root),
);
const digest = createHash('sha256')
  .update(publicKey.export({ type: 'spki', format: 'der' }))
  .digest('hex');

function certificateOf(names: readonly string[], by = root, span = NOW): string {
  return toPem(issueCertificate({ name: by === root ? '' : by.name, names, publicKey, kind: 'server', ...span }, by));
}

/** What the server of a cell shows. */
function shownBy({ server, domain }: Cell): string | undefined {
  const names = [`mx.${domain}`];
  if (server === 'none') return undefined;
  if (server === 'self-signed' || server === 'tlsa') return certificateOf(names, { name: 'itself', key });
  return certificateOf(names, root, server === 'expired' ? OVER : NOW);
}

function recordsOf(cell: Cell): string[] {
  const { domain, server, egress } = cell;
  const isSts = server === 'sts' || server === 'sts-other';
  return [
    `${domain}. IN MX 10 mx.${domain}.`,
    `mx.${domain}. IN ${egress === 'preserve' ? 'A' : 'AAAA'} ${serverOf(cell)}`,
    ...(server === 'tlsa' ? [`_25._tcp.mx.${domain}. IN TLSA 3 1 1 ${digest}`] : []),
    ...(server === 'tlsa-wrong' ? [`_25._tcp.mx.${domain}. IN TLSA 3 1 1 ${'00'.repeat(32)}`] : []),
    ...(isSts ? [`_mta-sts.${domain}. IN TXT "v=STSv1; id=1;"`, `mta-sts.${domain}. IN A ${POLICY_SERVER}`] : []),
  ];
}

const policyOf = ({ domain, server }: Cell): string =>
  `version: STSv1\nmode: enforce\nmx: ${server === 'sts' ? `*.${domain}` : 'mx.elsewhere.example.org'}\nmax_age: 86400\n`;
const withPolicy = cells.filter(({ server }) => server.startsWith('sts'));
const SMARTHOST = { address: PLACES.smarthost.v4, port: 587 };

function farFile(): FarFile {
  const servers = cells.map((cell) => {
    const certificate = shownBy(cell);
    return { address: serverOf(cell), port: 25, ...(certificate !== undefined && { certificate }) };
  });
  return {
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    servers: [...servers, { ...SMARTHOST, certificate: certificateOf([SMARTHOST.address]) }],
    policies: {
      address: POLICY_SERVER,
      certificate: certificateOf(withPolicy.map(({ domain }) => `mta-sts.${domain}`)),
      of: Object.fromEntries(withPolicy.map((cell) => [cell.domain, policyOf(cell)])),
    },
  };
}

const config = (): string => `
[gateway]
name = "${GATEWAY_NAME}"
state_dir = "${path('state')}"
run_dir = "${path('run')}"
workers = 2
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["${SMARTHOST.address}:${SMARTHOST.port}"]
tls = "verify"
ca_file = "${path('root.pem')}"
[preserve]
resolver = "127.0.0.1:53"
ca_file = "${path('root.pem')}"
[[network]]
name = "preserve"
prefixes = ["198.51.100.0/24"]
egress = "preserve"
opaque_connections = 100
limit_opaque = ["1000/minute"]
[[network]]
name = "smarthost"
prefixes = ["2001:db8:1::/48"]
opaque_connections = 100
limit_opaque = ["1000/minute"]
`;

const POSTFIX_POLICIES: Readonly<Record<string, string>> = {
  may: 'may',
  encrypt: 'encrypt',
  dane: 'dane',
  verify: 'verify match=hostname servername=hostname tafile=/etc/far-root.pem',
  fingerprint: `fingerprint match=${(digest.match(/../g) ?? []).join(':')}`,
};
const ownCells = (mta: Cell['mta']): Cell[] => cells.filter((cell) => cell.mta === mta);
const askedOf = (mta: Cell['mta'], how: (policy: string) => string): Asked =>
  Object.fromEntries(ownCells(mta).map(({ domain, policy }) => [domain, how(policy)]));

before(
  async () => {
    if (needsRoot) return;
    chmodSync(directory, 0o755);
    writeFileSync(path('root.pem'), rootPem);
    writeFileSync(path('far.json'), JSON.stringify(farFile()));
    network = await createNetwork({ servers: [...cells.map(serverOf), POLICY_SERVER] });
    const zone = await signZone(network.inside, cells.flatMap(recordsOf));
    const script = pathToFileURL(join(import.meta.dirname, 'parity-far.ts')).href;
    const options = ['-i', 'eth0', '-U', '--immediate-mode', '-s', '0', '-w', path('pcap')];
    capture = network.internet.spawn('tcpdump', options, { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(createInterface(capture.stderr as NodeJS.ReadableStream), 'line');
    const files = {
      '/etc/far-root.pem': rootPem,
      '/etc/other-ca.pem': rootPem,
      '/etc/ssl/certs/ca-certificates.crt': rootPem,
      '/etc/ssl/cert.pem': rootPem,
    };
    const [one, two, servers, postfix, exim, opensmtpd] = await Promise.all([
      startUnbound(network.inside, zone),
      startUnbound(network.gateway, zone),
      startReporter<SinkEvent>(network.internet, script, [path('far.json')]),
      openPostfix(
        network.inside,
        files,
        askedOf('postfix', (policy) => POSTFIX_POLICIES[policy] as string),
      ),
      openExim(
        network.inside,
        files,
        Object.fromEntries(Object.entries(askedOf('exim', (policy) => policy)).filter(([, how]) => how !== 'plain')),
      ),
      openOpenSmtpd(
        network.inside,
        files,
        askedOf('opensmtpd', (policy) => policy),
        (domain) => serverOf(cells.find((cell) => cell.domain === domain) as Cell),
      ),
    ]);
    [resolvers, far, mtas] = [[one, two], servers, { postfix, exim, opensmtpd }];
    gateway = startGateway(network.gateway, directory, config());
    await untilReady(gateway, AbortSignal.timeout(120_000));
  },
  { timeout: 600_000 },
);

after(
  async () => {
    if (needsRoot) return;
    await Promise.all(Object.values(mtas).map((mta) => mta.close()));
    await gateway.stop();
    await Promise.all([far.stop(), ...resolvers.map((box) => box.close())]);
    await network.destroy();
    rmSync(directory, { recursive: true, force: true });
  },
  { timeout: 300_000 },
);

/** In the bodies of a sender's mails by one egress; those to servers without TLS have one of their own. */
const marker = ({ egress, mta, policy, server }: Cell): string =>
  `MARKER.${egress}.${mta}.${policy}.${server === 'none' ? 'none' : 'some'}.`;

/** As few messages as there are bodies: a mail server parts them by domain itself. */
function batches(mta: Cell['mta']): Batch[] {
  const byBody = Map.groupBy(ownCells(mta), marker);
  return [...byBody].map(([body, of]) => ({ body, domains: of.map(({ domain }) => domain) }));
}

const attempts = (): Attempt[] =>
  readFileSync(gateway.logPath, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"event":"attempt"'))
    .map((line) => JSON.parse(line) as Attempt);

const toOf = ({ mta, domain }: Cell): string => `${mta}@${domain}`;
const arrivals = (cell: Cell): SinkMessage[] =>
  far.lines.filter(
    (one) => one.kind === 'message' && one.rcpts.some((to) => to.includes(`<${toOf(cell)}>`)),
  ) as SinkMessage[];
const cameFrom = ({ connection }: SinkMessage): string | undefined =>
  far.lines.flatMap((one) => (one.kind === 'connection' && one.connection === connection ? one.from : []))[0];

/** What the record says of a mail that arrived. */
function outcomeOf(cell: Cell, recorded: readonly Attempt[]): string {
  const [message, ...more] = arrivals(cell);
  if (!message) return 'D';
  if (more.length > 0) return `${more.length + 1} copies`;
  const row = recorded.find(
    ({ verdict, recipients }) => verdict === 'accept' && recipients.some(({ recipient }) => recipient === toOf(cell)),
  );
  if (!row) return message.tls ? 'E' : 'in clear, unseen';
  const isIn = row.tls !== undefined;
  const isOut = row.upstreamTls?.startsWith('TLS') === true;
  return isIn && isOut ? 'T' : !isIn && !isOut ? 'C' : `${row.tls?.version}>${row.upstreamTls}`;
}

test('Shows 2: each sender towards each server, with both egresses', {
  skip: needsRoot,
  timeout: 300_000,
}, async (t) => {
  const found = new Map<string, Tried>();
  const keep = (tried: readonly Tried[]): void => tried.forEach((one) => found.set(one.domain, one));
  const senders = Object.entries(mtas) as [Cell['mta'], Mta][];
  await Promise.all(senders.map(async ([name, mta]) => keep(await mta.tryAll(batches(name)))));
  const refused = cells.filter(({ expected }) => expected === 'E');
  await until(
    () => {
      const seen = new Set(attempts().flatMap((row) => (row.class === 'tls.client-refused' ? row.destination : [])));
      return refused.every((cell) => seen.has(serverOf(cell)));
    },
    'hosts that verify are seen',
    60_000,
  );
  await Promise.all(
    senders.map(async ([name, mta]) => {
      const undone = ownCells(name).filter(({ domain }) => !found.get(domain)?.isSent);
      keep(await mta.tryAgain(undone.map(({ domain }) => domain)));
    }),
  );
  const isRecorded = (cell: Cell, rows: readonly Attempt[]): boolean =>
    !found.get(cell.domain)?.isSent ||
    rows.some(
      ({ class: of, recipients, destination }) =>
        (of === 'tls.opaque' && destination === serverOf(cell)) ||
        recipients.some(({ recipient }) => recipient === toOf(cell)),
    );
  await until(() => cells.every((cell) => isRecorded(cell, attempts())), 'all that was delivered is recorded', 60_000);
  const recorded = attempts();
  for (const cell of cells) {
    const { egress, mta, policy, server, expected } = cell;
    const tried = found.get(cell.domain);
    await t.test(`${egress}: ${mta} ${policy}, ${server}`, () => {
      assert.equal(outcomeOf(cell, recorded), expected, tried?.line ?? 'not tried');
      assert.equal(tried?.isSent, expected !== 'D', `it arrived, or its sender has it still: ${tried?.line}`);
      const [message] = arrivals(cell);
      if (expected !== 'E' || !message) return;
      assert.equal(cameFrom(message), egress === 'preserve' ? PLACES.hosts[0].v4 : PLACES.gatewayOutside.v6);
    });
  }
});

test('Shows 1: what went over TLS, by us or end to end, is never seen in clear on the internet side', {
  skip: needsRoot,
}, async () => {
  const clear = cells.filter(({ expected }) => expected === 'C').map(marker);
  const holds = (word: string): boolean => readFileSync(path('pcap')).includes(word);
  // What was in clear is there to be found, so the capture is whole: that what was not is not there says something.
  await until(() => clear.every(holds), 'the capture is whole');
  const all = readFileSync(path('pcap'));
  for (const word of new Set(cells.map(marker))) assert.equal(all.includes(word), clear.includes(word), word);
  const metrics = (await network.gateway.run('curl', ['-s', 'http://127.0.0.1:9125/metrics'])).stdout;
  const value = (series: string): number =>
    Number(
      metrics
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.slice(series.length + 1) ?? Number.NaN,
    );
  assert.equal(value('postern_tls_downgrades_total'), 0);
  for (const network of ['preserve', 'smarthost'])
    assert.ok(
      value(`postern_opaque_total{network="${network}"}`) >=
        cells.filter(({ egress, expected }) => egress === network && expected === 'E').length,
    );
  for (const [policy, result] of [
    ['tlsa', 'success'],
    ['tlsa', 'tlsa-invalid'],
    ['sts', 'success'],
    ['sts', 'validation-failure'],
    ['no-policy', 'success'],
    ['no-policy', 'clear'],
  ])
    assert.ok(value(`postern_tls_verified_total{policy="${policy}",result="${result}"}`) > 0, `${policy} ${result}`);
});

const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');

test("Shows 2, the headline, IPv4 and IPv6: the MX sees the host's own address, TLS on both legs, TLSA verified; GTUBE inside TLS is refused 5xx", {
  skip: needsRoot,
  timeout: 120_000,
}, async () => {
  const reloads = (): number => readFileSync(gateway.logPath, 'utf8').split('"event":"config.reloaded"').length;
  const before = reloads();
  writeFileSync(gateway.configPath, config().replace('name = "smarthost"', 'name = "smarthost"\negress = "preserve"'));
  process.kill(gateway.pid, 'SIGHUP');
  await until(() => reloads() >= before + 4, 'guard, keeper and both workers have reloaded', 60_000);
  const headline = cells.filter(
    ({ mta, policy, server }) => mta === 'postfix' && policy === 'encrypt' && server === 'tlsa',
  );
  assert.equal(headline.length, 2);
  const [known, from] = [attempts().length, far.lines.length];
  const domains = headline.map(({ domain }) => domain);
  const said = await mtas.postfix.tryAll([{ domains, body: 'The headline.' }]);
  for (const { isSent, line } of said) assert.ok(isSent, line);
  const refused = await mtas.postfix.tryAll([{ domains, body: GTUBE }]);
  for (const { line } of refused) assert.match(line, / status=bounced .* 550 5\.7\.1 .*spam\.gtube/);
  await until(() => attempts().length >= known + 4, 'all is recorded');
  const rows = attempts().slice(known);
  for (const [i, cell] of headline.entries()) {
    const own = rows.filter(({ destination }) => destination === serverOf(cell));
    const facts = own.map(({ class: of, egress, tls, upstreamTls }) => [of, egress, tls?.version, upstreamTls]);
    assert.deepEqual(facts, [
      ['accepted.clean', 'preserve', 'TLSv1.3', 'TLSv1.3 dane'],
      ['spam.gtube', 'preserve', 'TLSv1.3', 'TLSv1.3 dane'],
    ]);
    const arrived = (far.lines.slice(from).filter(({ kind }) => kind === 'message') as SinkMessage[]).filter(
      ({ rcpts }) => rcpts.some((to) => to.includes(cell.domain)),
    );
    assert.equal(arrived.length, 1);
    const [message] = arrived as [SinkMessage];
    assert.equal(message.tls, true);
    assert.equal(cameFrom(message), i === 0 ? PLACES.hosts[0].v4 : PLACES.hosts[0].v6);
  }
});
