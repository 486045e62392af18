/** The smarthost that records: STARTTLS with a certificate of its own, IPv4 and IPv6, port 587, in a process of its own. */
import { join } from 'node:path';
import { type Namespace, runHere } from './namespace.ts';
import { PLACES } from './network.ts';
import { type Reporter, startReporter } from './reporter.ts';

/** The local part the smarthost refuses at RCPT. */
export const UNKNOWN = 'nobody';

/** One message as it arrived. */
export type Arrived = {
  /** empty for the null sender */
  readonly from: string;
  readonly to: readonly string[];
  readonly sizeBytes: number;
  readonly subject: string | undefined;
  readonly messageId: string | undefined;
  /** of everything after the header */
  readonly bodySha256: string;
  /** of everything below the Received field of the gateway: what its host has sent, if nothing else was changed */
  readonly sentSha256: string;
  /** the first header field, unfolded */
  readonly top: string;
  /** the first header field is the gateway's Received */
  readonly receivedByUs: boolean;
  readonly tls: boolean;
  readonly remote: string;
  readonly local: string;
};

export type Smarthost = Reporter<Arrived> & {
  /** `address:port`, as `smarthost.servers` takes them */
  readonly servers: readonly string[];
  /** its certificate, for `smarthost.ca_file` */
  readonly caFile: string;
};

export type SmarthostOptions = {
  /** where key and certificate are made */
  readonly directory: string;
  /** the gateway's name, by which its Received is known; default gw1.example.net */
  readonly gatewayName?: string;
  /** default: the smarthost's two places, port 587 */
  readonly servers?: readonly string[];
};

/** Start it in a namespace, or right here when that is undefined. Resolves when it listens. */
export async function startSmarthost(where: Namespace | undefined, options: SmarthostOptions): Promise<Smarthost> {
  const servers = options.servers ?? [`${PLACES.smarthost.v4}:587`, `[${PLACES.smarthost.v6}]:587`];
  const { key, cert } = await makeCertificate(options.directory, 'smarthost', servers);
  const reporter = await startReporter<Arrived>(where, 'smarthost-main.ts', [
    ...servers.flatMap((server) => ['--listen', server]),
    ...['--key', key, '--cert', cert, '--gateway', options.gatewayName ?? 'gw1.example.net'],
  ]);
  return { ...reporter, servers, caFile: cert };
}

/**
 * A certificate that is its own authority, valid for two days, for `NAME.example.net` and the servers' addresses.
 * Returns the paths; the key is readable by root only.
 */
export async function makeCertificate(
  directory: string,
  name: string,
  servers: readonly string[],
): Promise<{ key: string; cert: string }> {
  const key = join(directory, `${name}.key`);
  const cert = join(directory, `${name}.pem`);
  const addresses = servers.map((server) => `IP:${server.replace(/:\d+$/, '').replace(/[[\]]/g, '')}`);
  const subject = [`DNS:${name}.example.net`, ...new Set(addresses)].join(',');
  const ran = await runHere('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}.example.net`, '-addext', `subjectAltName=${subject}`],
    ...['-keyout', key, '-out', cert],
  ]);
  if (ran.code !== 0) throw new Error(`openssl could not make a certificate: ${ran.stderr.trim()}`);
  return { key, cert };
}
