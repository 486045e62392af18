/** TLS on both legs: what a message costs beside Postfix, what a new name costs, and what handshakes cost those beside them. */
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createSecureContext } from 'node:tls';
import { issueCertificate, newKey, toPem } from '../src/kit/x509.ts';
import { PLACES } from '../src/lab/network.ts';
import { type Reporter, startReporter } from '../src/lab/reporter.ts';
import { temporaryDirectory } from './leftovers.ts';
import { startPostfix } from './peers/postfix.ts';
import { startPostern } from './peers/postern.ts';
import type { PeerKind } from './peers/peer.ts';
import { table } from './report.ts';
import { setUp, type Standing } from './sample.ts';
import { median, spread } from './statistics.ts';
import { holds, withSpread } from './tables.ts';
import type { LoadTlsOptions, LoadTlsResult } from './tls-load.ts';

const SINK = { host: PLACES.smarthost.v4, port: 588 };
const CONNECTIONS = 20;
const HANDSHAKES_A_SECOND = 200;
/** of that rate, for a run in which the machine could do as much */
const REACHED = 0.9;
const MINT_AT_MOST_MS = 0.3;
const BESIDE_P99_AT_MOST_MS = 20;
const DAY_MS = 86_400_000;
const TIMES = 2000;

export type TlsOptions = { readonly rounds: number; readonly seconds: number; readonly say: (text: string) => void };

const sinkScript = pathToFileURL(join(import.meta.dirname, '../test/interop/sink.ts')).href;
const loadScript = join(import.meta.dirname, 'tls-load.ts');

export async function tlsTables({
  rounds,
  seconds,
  say,
}: TlsOptions): Promise<{ text: string; standings: Standing[] }> {
  const directory = temporaryDirectory('/dev/shm/postern-bench-tls-');
  const files = { cert: join(directory.path, 'cert.pem'), key: join(directory.path, 'key.pem') };
  const { cert, key } = ownCertificate();
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key);
  const sinks: Reporter<unknown>[] = [];
  const standings: Standing[] = [];
  const withSink =
    (kind: PeerKind): PeerKind['start'] =>
    async (stage) => {
      const args = [`${SINK.host}:${SINK.port}`, '--tls', files.cert, files.key];
      sinks.push(await startReporter(stage.network.internet, sinkScript, args));
      return await kind.start(stage);
    };
  try {
    for (const kind of [postern, postfix({ cert, key })]) {
      say(`starting ${kind.about}`);
      standings.push(await setUp({ ...kind, start: withSink(kind) }));
    }
    const text = await measured(standings, { rounds, seconds, say });
    return { text, standings };
  } finally {
    for (const standing of standings.toReversed()) await standing.close();
    for (const sink of sinks) await sink.stop();
    directory.remove();
  }
}

async function measured(standings: readonly Standing[], { rounds, seconds, say }: TlsOptions): Promise<string> {
  const rows = standings.map(({ kind }) => ({
    peer: kind.name,
    rates: [] as number[],
    cpuMs: [] as number[],
    failed: 0,
  }));
  for (let round = -1; round < rounds; round++) {
    for (const [i, standing] of standings.entries()) {
      const before = standing.cost.cpuSeconds();
      const result = await load(standing, { seconds, connections: CONNECTIONS, sizeBytes: 4096 });
      const cpuMs = ((standing.cost.cpuSeconds() - before) * 1000) / Math.max(1, result.sessions);
      say(
        `tls ${round + 1}/${rounds} ${standing.kind.name}: ${result.perSecond.toFixed(0)} msg/s, ${cpuMs.toFixed(2)} ms`,
      );
      // The first is to warm up.
      if (round < 0) continue;
      rows[i]?.rates.push(result.perSecond);
      rows[i]?.cpuMs.push(cpuMs);
      if (rows[i]) rows[i].failed += result.failed;
    }
  }
  const [own] = standings as [Standing];
  say(`${HANDSHAKES_A_SECOND} handshakes a second`);
  const handshakes = [];
  const fresh = [];
  for (let round = 0; round < rounds; round++) {
    handshakes.push(await shakeHands(own, seconds, false));
    fresh.push(await shakeHands(own, seconds, true));
  }
  const mint = costOfNames();
  const beside = (of: readonly Beside[]): number[] => of.map(({ p99Ms }) => p99Ms);
  const rateOf = (of: readonly Beside[]): number => median(of.map(({ perSecond }) => perSecond));
  const reached = (of: readonly Beside[]): string => `${rateOf(of).toFixed(0)}/s`;
  const [ownCpu = Number.NaN, postfixCpu = Number.NaN] = rows.map(({ cpuMs }) => median(cpuMs));
  return [
    table(
      ['', 'target', 'measured', ''],
      [
        [
          'a certificate for a new name',
          `≤ ${MINT_AT_MOST_MS} ms of CPU`,
          `${withSpread(spread(mint.issuedMs))} ms; the context that TLS makes of it ${withSpread(spread(mint.contextMs))} ms`,
          holds(median(mint.issuedMs) <= MINT_AT_MOST_MS),
        ],
        [
          `a host beside ${HANDSHAKES_A_SECOND} handshakes a second (${reached(handshakes)} done)`,
          `p99 of a reply < ${BESIDE_P99_AT_MOST_MS} ms`,
          `${withSpread(spread(beside(handshakes)))} ms`,
          holds(
            median(beside(handshakes)) < BESIDE_P99_AT_MOST_MS && rateOf(handshakes) >= REACHED * HANDSHAKES_A_SECOND,
          ),
        ],
        [`the same, each for a new name (${reached(fresh)} done)`, '', `${withSpread(spread(beside(fresh)))} ms`, ''],
        ['CPU of a message beside Postfix', '', `${(ownCpu / postfixCpu).toFixed(2)} of it`, ''],
      ],
    ),
    `One 4 KB message for each connection, TLS on both legs, ${CONNECTIONS} connections; every handshake of a host is whole:`,
    table(
      ['peer', 'msg/s', 'CPU ms per message', 'failed'],
      rows.map(({ peer, rates, cpuMs, failed }) => [
        peer,
        withSpread(spread(rates)),
        withSpread(spread(cpuMs)),
        String(failed),
      ]),
    ),
  ].join('\n\n');
}

type Beside = { readonly perSecond: number; readonly p99Ms: number };

async function shakeHands(standing: Standing, seconds: number, isEachNew: boolean): Promise<Beside> {
  const [{ p99Ms }, { perSecond }] = await Promise.all([
    load(standing, { seconds, isBeside: true }),
    load(standing, { seconds, perSecond: HANDSHAKES_A_SECOND, isEachNew }),
  ]);
  return { p99Ms, perSecond };
}

async function load({ stage, peer }: Standing, options: Omit<LoadTlsOptions, 'host' | 'port'>): Promise<LoadTlsResult> {
  const [, host = '', port] = /^(.*):(\d+)$/.exec(peer.target.v4) ?? [];
  const args = [loadScript, JSON.stringify({ host, port: Number(port), ...options })];
  const deadlineMs = options.seconds * 1000 + 60_000;
  const ran = await stage.network.inside.run(process.execPath, args, { deadlineMs });
  if (ran.code !== 0) throw new Error(`tls-load ended with ${ran.code}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as LoadTlsResult;
}

const postern: PeerKind = {
  name: 'postern',
  about: 'Postern, 2 workers, TLS on both legs',
  start: (stage) => startPostern(stage, { servers: [`${SINK.host}:${SINK.port}`] }),
};

const postfix = (own: { readonly cert: string; readonly key: string }): PeerKind => ({
  name: 'postfix-queue',
  about: 'Postfix with its queue and a relayhost, TLS on both legs',
  queues: true,
  start: (stage) =>
    startPostfix(stage, '', {
      files: { '/etc/postfix/own.pem': own.key + own.cert },
      settings: [
        ...[
          'smtpd_tls_security_level=may',
          'smtpd_tls_chain_files=/etc/postfix/own.pem',
          'smtp_tls_security_level=encrypt',
        ],
        `relayhost=[${SINK.host}]:${SINK.port}`,
      ],
    }),
});

function ownCertificate(): { readonly cert: string; readonly key: string } {
  const key = newKey();
  const span = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS };
  const facts = { name: 'sink', names: [SINK.host], publicKey: createPublicKey(key), kind: 'server', ...span } as const;
  return {
    cert: toPem(issueCertificate(facts, { name: 'sink', key })),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
  };
}

/** By CPU time, so that it does not matter what else the machine does. */
function costOfNames(): { readonly issuedMs: number[]; readonly contextMs: number[] } {
  const key = newKey();
  const signer = { name: 'issuer', key: newKey() };
  const publicKey = createPublicKey(key);
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' });
  const span = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS };
  const issued = (i: number): string => {
    const name = `mx${i}.example.org`;
    return toPem(issueCertificate({ name, names: [name], publicKey, kind: 'server', ...span }, signer));
  };
  const issuer = issued(0);
  const made = issued(1) + issuer;
  const context = (): unknown => createSecureContext({ cert: made, key: keyPem, ca: [], minVersion: 'TLSv1.2' });
  const each = (run: (i: number) => unknown): number => {
    const before = process.cpuUsage();
    for (let i = 0; i < TIMES; i++) run(i);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / TIMES;
  };
  each(issued);
  return { issuedMs: [1, 2, 3].map(() => each(issued)), contextMs: [1, 2, 3].map(() => each(context)) };
}
