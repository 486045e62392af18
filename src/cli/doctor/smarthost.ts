/**
 * Checks of the servers that mail goes to: each configured smarthost dialled as a worker dials it, and whether packets as
 * large as mail is sent in arrive there.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Config } from '../../config/schema.ts';
import type { Endpoint } from '../../config/value/net.ts';
import { mustRun } from '../../kit/command.ts';
import { asFileUserUntil } from '../../kit/native-socket.ts';
import { userOf } from '../../kit/users.ts';
import { dial } from '../../relay/dial.ts';
import { readSecrets } from '../../relay/smarthost.ts';
import type { Upstream } from '../../relay/upstream.ts';
import type { Finding } from './finding.ts';

/** Four lines of commands are more than one packet (RFC 5321 section 4.5.3.1.4: at most 512 octets each). */
const LARGE = Array.from({ length: 4 }, () => `NOOP ${'x'.repeat(490)}\r\n`).join('');
const QUIT = Buffer.from('QUIT\r\n');
const REPLY_MS = 3000;

export async function checkSmarthost(config: Pick<Config, 'gateway' | 'smarthost'>): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const server of config.smarthost.servers) findings.push(...(await checkServer(server, config)));
  return findings;
}

/** Packets to port 25 leave this machine for workers alone, and the password is theirs to read. */
async function checkServer(server: Endpoint, config: Pick<Config, 'gateway' | 'smarthost'>): Promise<Finding[]> {
  const { gateway, smarthost } = config;
  return await asFileUserUntil(userOf('worker').uid, async () => {
    const secrets = readSecrets(smarthost);
    const dialled =
      'unreadable' in secrets
        ? secrets.unreadable
        : await dial(server, {
            ...{ name: gateway.name, tls: smarthost.tls, timeoutMs: smarthost.connectTimeout },
            ...{ ca: secrets.ca, credentials: secrets.credentials },
          });
    if (dialled.kind === 'failure') {
      const { class: of, detail } = dialled;
      return [
        { check: 'smarthost', state: 'fault', text: `${server.text}: ${of}: ${detail}`, mend: mendOf(of, server) },
      ];
    }
    const { upstream } = dialled;
    const over = upstream.tlsVersion === undefined ? 'in clear' : `over ${upstream.tlsVersion}`;
    const reached: Finding = { check: 'smarthost', state: 'ok', text: `${server.text} takes mail, ${over}` };
    return [reached, ...(await checkLarge(server, upstream))];
  });
}

function mendOf(of: string, { host, port, text }: Endpoint): string {
  if (of === 'upstream.auth') return 'put smarthost.username and smarthost.password_file right';
  if (of === 'upstream.tls')
    return `openssl s_client -starttls smtp -connect ${text} -verify_return_error shows why; then smarthost.ca_file, or its operator`;
  const route = isIP(host) > 0 ? `ip route get ${host}; then ` : `getent ahosts ${host}; then `;
  return `${route}its operator: port ${port} there must be open to this machine`;
}

/** Where packets of full size get lost without a word, everything works but messages. */
async function checkLarge({ text, host }: Endpoint, upstream: Upstream): Promise<Finding[]> {
  if (!upstream.capabilities.pipelining) {
    await leave(upstream);
    return [];
  }
  const [first] = upstream.exchange(Buffer.from(LARGE), Array(4).fill('other') as 'other'[], REPLY_MS);
  const answer = await first;
  if (answer?.kind !== 'fault') {
    await leave(upstream);
    return [{ check: 'mtu', state: 'ok', text: `packets of full size arrive at ${text}` }];
  }
  return [
    {
      check: 'mtu',
      state: 'fault',
      text: `${text} answers small packets and not those of full size, and no router says why: ${answer.detail}`,
      mend: `ip link set dev ${await deviceTo(host)} mtu 1400`,
    },
  ];
}

async function leave(upstream: Upstream): Promise<void> {
  await upstream.exchange(QUIT, ['other'], REPLY_MS)[0];
  upstream.poison('upstream.lost', 'it was only looked at');
}

async function deviceTo(host: string): Promise<string> {
  const { address } = await lookup(host);
  const [route] = JSON.parse(await mustRun('ip', ['-j', 'route', 'get', address])) as { readonly dev: string }[];
  return route?.dev ?? 'INTERFACE';
}
