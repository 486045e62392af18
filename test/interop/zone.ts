/** A signed zone and unbound: a resolver that says what DNSSEC shows to be true, in any namespace. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Namespace } from '../../src/lab/network.ts';
import { chrootOf } from '../kit/debian.ts';
import { type Box, openBox } from './box.ts';
import { OPTIONS, TOOLS } from './machine.ts';

const CONFIG = `server:
  interface: 127.0.0.1
  chroot: ""
  username: ""
  pidfile: ""
  directory: "/zone"
  do-daemonize: no
  use-syslog: no
  verbosity: 1
  trust-anchor-file: "/zone/anchor"
  module-config: "validator iterator"
  # A name that is forged on purpose is not to be asked for again and again.
  val-bogus-ttl: 1
auth-zone:
  name: "example.org"
  zonefile: "/zone/zone.signed"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
`;

export type Zone = { readonly signed: string; readonly anchor: string };

const HEAD = `$ORIGIN example.org.
$TTL 60
@ IN SOA ns.example.org. root.example.org. 1 3600 600 86400 60
@ IN NS ns.example.org.
ns IN A 127.0.0.1
`;

const root = (): Promise<string> => chrootOf('dns', ['unbound', 'ldnsutils', 'base-passwd', ...TOOLS]);

/** `records` as in a zone file, names whole and with a final dot. `forge` is done to the signed text. */
export async function signZone(
  net: Namespace,
  records: readonly string[],
  forge = (signed: string): string => signed,
): Promise<Zone> {
  const box = await openBox(await root(), net);
  try {
    await box.write({ '/zone/zone': `${HEAD}${records.join('\n')}\n` });
    const sign = `cd /zone && key=$(ldns-keygen -a ECDSAP256SHA256 -k -r /dev/urandom example.org) && \
      ldns-signzone -o example.org zone "$key" && cat "$key.ds"`;
    const { stdout: anchor } = await box.run(['sh', '-ec', sign], OPTIONS);
    const { stdout: signed } = await box.run(['cat', '/zone/zone.signed']);
    return { anchor, signed: forge(signed) };
  } finally {
    await box.close();
  }
}

/** Unbound at 127.0.0.1:53 of the namespace; resolves when it answers. */
export async function startUnbound(net: Namespace, { signed, anchor }: Zone): Promise<Box> {
  const box = await openBox(await root(), net);
  await box.write({ '/zone/zone.signed': signed, '/zone/anchor': anchor, '/etc/unbound/unbound.conf': CONFIG });
  const child = box.spawn(['unbound', '-d', '-c', '/etc/unbound/unbound.conf']);
  const lines = createInterface(child.stderr as NodeJS.ReadableStream);
  const said: string[] = [];
  await Promise.race([
    new Promise<void>((resolve) => {
      lines.on('line', (line) => {
        said.push(line);
        if (line.includes('start of service')) resolve();
      });
    }),
    once(child, 'close').then(() => Promise.reject(new Error(`unbound has ended:\n${said.join('\n')}`))),
  ]);
  return box;
}
