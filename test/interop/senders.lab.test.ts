/**
 * Unmodified senders in the host namespace, through the real gateway, to a smarthost or to the server they have called,
 * which share no code with it. Which of the two is a matter of the address that the host sends from.
 *
 * Clients hand over what they were given, so the whole message must arrive equal; mail servers put a Received of
 * their own on top, so there the body and every field that was queued must arrive equal, with nothing else added.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { GATEWAY_NAME, type Gateway, lastLines, startGateway, untilReady } from '../../src/lab/gateway.ts';
import { createNetwork, type LabNetwork, PLACES } from '../../src/lab/network.ts';
import { type Reporter, startReporter } from '../../src/lab/reporter.ts';
import { makeCertificate } from '../fake/certificate.ts';
import { isLong, needsRoot } from '../kit/tier.ts';
import { nodemailer, smtplib, swaks } from './clients.ts';
import { bytesOf, eightBitBody, type Family, largeBody, type Mail, mailOf, sha256 } from './mail.ts';
import type { Opened, Sender } from './sender.ts';
import { exim, openSmtpd, postfix, sendmail } from './servers.ts';
import type { SinkEvent, SinkMessage } from './sink.ts';

/** The first run fetches Debian packages, some 6 s for each sender. */
const SENDER_TIMEOUT_MS = 600_000;
const ARRIVAL_TIMEOUT_MS = 120_000;
const LOGGED_TIMEOUT_MS = 60_000;

const SMARTHOSTS = [`${PLACES.smarthost.v4}:587`, `[${PLACES.smarthost.v6}]:587`];
const ORIGINALS = [`${PLACES.direct.v4}:25`, `[${PLACES.direct.v6}]:25`];

/** Three hosts, each in a network with another egress. */
const WAYS = {
  smarthost: { host: PLACES.hosts[0], network: '' },
  preserve: { host: PLACES.hosts[1], network: 'egress = "preserve"' },
  hidden: { host: PLACES.hosts[2], network: 'egress = "preserve"\ntrace = "hide"' },
} as const;
type Way = keyof typeof WAYS;
const OURS = new RegExp(
  `^Received: from [^\\r]*\\r\\n\\tby ${GATEWAY_NAME} \\(Postern\\) with \\w+ id (\\w+);?(?:\\r\\n\\t[^\\r]*)+\\r\\n`,
);

const senders = [swaks, smtplib, nodemailer, postfix, exim, openSmtpd, sendmail];

const large = largeBody();

/** The mails of each case; several go over one connection. */
const CASES: readonly {
  readonly name: string;
  readonly mails: readonly Omit<Parameters<typeof mailOf>[0], 'subject' | 'family'>[];
}[] = [
  { name: '1 recipient', mails: [{}] },
  { name: '100 recipients', mails: [{ recipients: 100 }] },
  { name: '3 messages in one connection', mails: [{}, {}, {}] },
  { name: 'null sender', mails: [{ from: '' }] },
  { name: '8-bit', mails: [{ body: eightBitBody() }] },
  { name: '25 MB', mails: [{ body: large }] },
];

/** A hidden trace is no matter of the family: in the short run each is seen over one. */
const PASSES: readonly (readonly [Way, Family])[] = isLong
  ? (['smarthost', 'preserve', 'hidden'] as const).flatMap((way) => [[way, 4] as const, [way, 6] as const])
  : [
      ['smarthost', 4],
      ['smarthost', 6],
      ['preserve', 4],
      ['hidden', 6],
    ];

const directory = mkdtempSync(join(tmpdir(), `postern-interop-${process.pid}-`));
let network: LabNetwork | undefined;
let gateway: Gateway | undefined;
let names: Reporter<unknown> | undefined;
let sink: Reporter<SinkEvent> | undefined;

function config(caFile: string): string {
  return `
[gateway]
name = "${GATEWAY_NAME}"
state_dir = "${directory}/state"
run_dir = "${directory}/run"
workers = 2
drain = "1s"
[intercept]
inside = ["lan0"]
[smarthost]
servers = [${SMARTHOSTS.map((server) => `"${server}"`).join(', ')}]
tls = "verify"
ca_file = "${caFile}"
${Object.entries(WAYS)
  .map(
    ([name, way]) =>
      `[[network]]\nname = "${name}"\nprefixes = ["${way.host.v4}/32", "${way.host.v6}/128"]\n${way.network}\n`,
  )
  .join('')}`;
}

const script = (name: string): string => pathToFileURL(join(import.meta.dirname, name)).href;

before(
  async () => {
    if (needsRoot) return;
    chmodSync(directory, 0o755);
    network = await createNetwork();
    names = await startReporter(network.inside, script('dns.ts'), []);
    const addresses = [PLACES.smarthost.v4, PLACES.smarthost.v6].map((address) => `IP:${address}`);
    const { certPath } = makeCertificate(directory, 'sink', ...addresses);
    const secure = ['--tls', certPath, join(directory, 'sink.key')];
    sink = await startReporter<SinkEvent>(network.internet, script('sink.ts'), [
      ...SMARTHOSTS,
      ...ORIGINALS,
      ...secure,
    ]);
    gateway = startGateway(network.gateway, directory, config(certPath));
    await untilReady(gateway, AbortSignal.timeout(120_000));
    // Of the senders, only nodemailer looks at certificates; its user has been given the gateway's.
    const authority = join(directory, 'authority.pem');
    writeFileSync(authority, (await gateway.postern('ca')).stdout);
    process.env['NODE_EXTRA_CA_CERTS'] = authority;
  },
  { timeout: 120_000 },
);

after(
  async () => {
    await gateway?.stop();
    await Promise.all([names?.stop(), sink?.stop()]);
    await network?.destroy();
    rmSync(directory, { recursive: true, force: true });
  },
  { timeout: 300_000 },
);

for (const sender of senders) {
  const three = sender.oneMessageAConnection ? '3 messages' : '3 in one connection';
  const title = `Shows 3, 5: ${sender.name} delivers by a smarthost and to the server it called, to 1 and 100 recipients, ${three}, null sender, 8-bit, 25 MB, over IPv4 and IPv6`;
  test(title, { skip: needsRoot, timeout: SENDER_TIMEOUT_MS }, async (t) => {
    assert.ok(network);
    const opened = await sender.open(network.inside);
    try {
      for (const [way, family] of PASSES) {
        await sendFrom(way);
        for (const { name: full, mails } of CASES) {
          // What is large goes the same way as what is small: once with each egress.
          if (!isLong && full === '25 MB' && way !== 'smarthost' && family === 6) continue;
          const name = sender.oneMessageAConnection ? full.replace(' in one connection', '') : full;
          await t.test(`${way}: ${name}, IPv${family}`, async () => {
            const more = mails.length > 1 ? Array.from({ length: sender.aloneAtFirst ?? 0 }, () => ({})) : [];
            const made = [...more, ...mails].map((mail, n) =>
              mailOf({ ...mail, family, subject: `${sender.name}, ${way}, ${name}, IPv${family}, ${n + 1}` }),
            );
            const ids = await delivers(sender, opened, made, way, family);
            if (way === 'hidden') return;
            if (mails.length === 1 || sender.oneMessageAConnection) return;
            const sessions = await sessionsOf(ids);
            const most = Math.max(...sessions.map((one) => sessions.filter((other) => other === one).length));
            assert.equal(most, mails.length, `in one connection, of these: ${sessions.join(', ')}`);
          });
        }
      }
    } finally {
      await opened.close();
    }
  });
}

/** Sends them and looks at each as it arrived. Returns the gateway's ids, in the order of the mails. */
async function delivers(
  sender: Sender,
  opened: Opened,
  mails: readonly Mail[],
  way: Way,
  family: Family,
): Promise<string[]> {
  try {
    await opened.send(mails, family);
  } catch (error) {
    throw new Error(`not delivered; the gateway's log:\n${lastLines(gateway?.logPath ?? '')}`, { cause: error });
  }
  const ids: string[] = [];
  for (const mail of mails) {
    const transactions = await arrivedOf(mail);
    assert.deepEqual(
      transactions.flatMap(({ rcpts }) => rcpts.map(addressOf)).sort(),
      [...mail.to].sort(),
      'every recipient once',
    );
    for (const transaction of transactions) ids.push(compare(sender, mail, transaction, way, family));
  }
  return ids;
}

/** One transaction at the smarthost against what was handed to the sender. Returns the gateway's id of it. */
function compare(sender: Sender, mail: Mail, arrived: SinkMessage, way: Way, family: Family): string {
  const { v4, v6 } = WAYS[way].host;
  const host = family === 4 ? v4 : v6;
  const [ours = '', id = ''] = OURS.exec(arrived.header) ?? [];
  assert.equal(ours !== '', way !== 'hidden', `our Received on top of:\n${arrived.header.slice(0, 500)}`);
  if (way !== 'hidden')
    assert.ok(ours.includes(`([${family === 4 ? '' : 'IPv6:'}${host}])`), `it names the host: ${ours}`);
  if (way !== 'smarthost') assert.equal(peerOf(arrived.connection), host, "the server sees the host's own address");
  const below = arrived.header.slice(ours.length);
  assert.ok(!below.includes(GATEWAY_NAME), 'nothing else of ours in the header');
  assert.equal(addressOf(arrived.mail), mail.from);
  assert.equal(arrived.tls, true);
  assert.equal(arrived.strayBytes, 0);
  assert.equal(arrived.bodySizeBytes, mail.body.length);
  assert.equal(arrived.bodySha256, sha256(mail.body), 'the body is equal');
  if (sender.verbatim) {
    const whole = sha256(Buffer.concat([Buffer.from(ours, 'latin1'), bytesOf(mail)]));
    assert.equal(arrived.sha256, whole, 'the whole message below our Received is equal');
  } else {
    const queued = fieldsOf(mail.header);
    const fields = fieldsOf(below);
    assert.deepEqual(
      queued.filter((field) => !fields.includes(field)),
      [],
      'every queued field is there as it was',
    );
    const added = fields.filter((field) => !queued.includes(field)).map((field) => field.split(':')[0]);
    assert.deepEqual(added, ['Received'], 'and besides them the Received of the sender alone');
  }
  return id;
}

function peerOf(connection: number): string | undefined {
  const lines = sink?.lines ?? [];
  for (const line of lines) if (line.kind === 'connection' && line.connection === connection) return line.from;
  return undefined;
}

/**
 * What leaves the hosts' namespace without an address of its own has this host's. Some keep a connection for their next
 * mail, which would have another's.
 */
async function sendFrom(way: Way): Promise<void> {
  for (let open = 1; open > 0; await sleep(50)) {
    const status = await gateway?.status();
    open = status ? status.workers.connected.reduce((sum, worker) => sum + worker.open, 0) : 1;
  }
  const { v4, v6 } = WAYS[way].host;
  for (const [via, src] of [
    [PLACES.gatewayInside.v4, v4],
    [PLACES.gatewayInside.v6, v6],
  ] as const) {
    const changed = await network?.inside.run('ip', ['route', 'replace', 'default', 'via', via, 'src', src]);
    assert.equal(changed?.code, 0);
  }
}

/** Each field with its folded lines. */
function fieldsOf(header: string): string[] {
  return header.split(/(?<=\r\n)(?![ \t])/).filter((field) => field !== '');
}

/** `<a@b> PARAMETERS` without brackets and parameters. */
function addressOf(path: string): string {
  return /^<([^>]*)>/.exec(path)?.[1] ?? path;
}

/** The transactions that brought this mail: more than one where a sender splits the recipients. */
async function arrivedOf(mail: Mail): Promise<SinkMessage[]> {
  const subject = /^Subject: .*\r\n/m.exec(mail.header)?.[0] ?? '';
  const found = (): SinkMessage[] =>
    (sink?.lines ?? []).filter((line): line is SinkMessage => line.kind === 'message' && line.header.includes(subject));
  const isComplete = (): boolean => found().reduce((sum, { rcpts }) => sum + rcpts.length, 0) >= mail.to.length;
  await sink?.waitFor(isComplete, ARRIVAL_TIMEOUT_MS);
  return found();
}

/** The connection from the host that each of these transactions came over, from the gateway's log. */
async function sessionsOf(ids: readonly string[]): Promise<string[]> {
  assert.ok(gateway);
  const deadline = performance.now() + LOGGED_TIMEOUT_MS;
  for (;;) {
    const text = readFileSync(gateway.logPath, 'utf8');
    const lines = text.split('\n').filter((line) => line.includes('"attempt"'));
    const sessions = ids.map((id) => {
      const line = lines.find((one) => one.includes(`"${id}"`));
      return line === undefined ? undefined : (JSON.parse(line) as { session: string }).session;
    });
    if (sessions.every((session) => session !== undefined)) return sessions;
    if (performance.now() > deadline) assert.fail(`not in the log: ${ids.filter((_, n) => !sessions[n]).join(', ')}`);
    await sleep(50);
  }
}
