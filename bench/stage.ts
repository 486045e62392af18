/**
 * Where a peer is measured: hosts inside, the peer on the gateway, the sink on the internet. Every peer has such a network of its
 * own, so that none pays for another's packet filter rules.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createNetwork, type LabNetwork, type Namespace, PLACES } from '../src/lab/network.ts';
import { watchEnd } from './leftovers.ts';
import { cacheDir, Sink } from './programs.ts';

export const SMARTHOST = { v4: `${PLACES.smarthost.v4}:587`, v6: `[${PLACES.smarthost.v6}]:587` } as const;
/** a server on the internet that hosts mean to call */
export const CALLED = { v4: `${PLACES.direct.v4}:25`, v6: `[${PLACES.direct.v6}]:25` } as const;
/** where peers that are no transparent proxies listen */
export const LISTEN = { v4: `${PLACES.gatewayInside.v4}:2500`, v6: `[${PLACES.gatewayInside.v6}]:2500` } as const;

/** Prefixes of the hosts, as a network in Postern's configuration. */
export const CUSTOMERS = ['198.51.100.0/25', '192.0.2.0/24', '2001:db8:1::/48'];
/** hosts here are as many as there are addresses: the inside namespace takes each for its own */
const ANY = { v4: '192.0.2.0/24', v6: '2001:db8:1:8000::/49' } as const;
/** hosts that misbehave */
export const BAD = '198.51.100.64/26';

export type Family = 'v4' | 'v6';

export type Stage = {
  readonly network: LabNetwork;
  readonly sink: Sink;
  /** makes a file of so many sources for load.c; at most 250 for IPv4, each in a /64 of its own for IPv6 */
  readonly sources: (family: Family, count: number) => string;
  readonly close: () => Promise<void>;
};

export async function openStage(): Promise<Stage> {
  const network = await createNetwork();
  watchEnd();
  try {
    const { inside, gateway, internet } = network;
    await must(inside, [
      `ip route add local ${ANY.v4} dev lo`,
      `ip -6 route add local ${ANY.v6} dev lo`,
      `ip route add local ${BAD} dev lo`,
      'echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind',
      'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range',
    ]);
    await must(gateway, [
      `ip route add ${ANY.v4} via ${PLACES.hosts[0].v4}`,
      `ip -6 route add ${ANY.v6} via ${PLACES.hosts[0].v6} dev lan0`,
      // A relay that opens a connection for every connection has one source address for all of them.
      'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range',
      'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse',
    ]);
    const sink = await Sink.start(internet, [SMARTHOST.v4, SMARTHOST.v6, CALLED.v4, CALLED.v6]);
    return { network, sink, sources, close: () => network.destroy() };
  } catch (error) {
    await network.destroy();
    throw error;
  }
}

function sources(family: Family, count: number): string {
  const host = (i: number): string =>
    family === 'v4' ? `192.0.2.${i + 1}` : `2001:db8:1:${(0x8000 + i).toString(16)}::1`;
  if (family === 'v4' && count > 250) throw new Error('250 IPv4 sources at most');
  return sourcesFile(
    `${family}-${count}`,
    Array.from({ length: count }, (_, i) => host(i)),
  );
}

/** A file for load.c and syn.c of these sources. */
export function sourcesFile(name: string, hosts: readonly string[]): string {
  const path = join(cacheDir, `sources-${name}`);
  writeFileSync(path, `${hosts.join('\n')}\n`);
  return path;
}

/** Run a shell script there; rejects with what it said when it does not end well. Resolves with its output. */
export async function must(where: Namespace, lines: readonly string[]): Promise<string> {
  const ran = await where.run('sh', ['-ec', lines.join('\n')]);
  if (ran.code !== 0) throw new Error(`in ${where.name}: ${ran.stderr.trim()}`);
  return ran.stdout;
}
