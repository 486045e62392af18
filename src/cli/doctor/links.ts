/** Checks of the interfaces that mail passes: there, up, forwarding, wide enough, and the same for both families. */
import { readFileSync } from 'node:fs';
import type { Config } from '../../config/schema.ts';
import type { Family } from '../../kit/address.ts';
import { mustRun, runCommand } from '../../kit/command.ts';
import type { Finding } from './finding.ts';

export type Link = { readonly ifname: string; readonly flags: readonly string[]; readonly mtu: number };

/** What every IPv6 link carries (RFC 8200 section 5); below it the kernel has no IPv6 there. */
const LEAST_MTU = 1280;

export async function readLinks(): Promise<Link[]> {
  return JSON.parse(await mustRun('ip', ['-j', 'link', 'show'])) as Link[];
}

/** Interfaces that mail passes: inside ones, and those of the default routes. */
export async function mailInterfaces({ intercept }: Pick<Config, 'intercept'>): Promise<string[]> {
  const routes = (await Promise.all(([4, 6] as const).map((family) => routesOf(family, ['default'])))).flat();
  return [...new Set([...intercept.inside, ...routes.flatMap(({ dev }) => (dev === undefined ? [] : [dev]))])];
}

export function checkInterfaces(names: readonly string[], links: readonly Link[]): Finding[] {
  const faults = names.flatMap((name): Finding[] => {
    const link = links.find(({ ifname }) => ifname === name);
    const fault = (text: string, mend: string): Finding[] => [{ check: 'interface', state: 'fault', text, mend }];
    if (!link)
      return fault(
        `${name} does not exist: nothing that comes in there is intercepted or refused`,
        'put the name right in intercept.inside; ip -brief link lists those that there are',
      );
    if (!link.flags.includes('UP')) return fault(`${name} is down`, `ip link set dev ${name} up`);
    if (link.flags.includes('NO-CARRIER'))
      return fault(`${name} has no carrier`, 'look at the cable and at what is at its other end');
    return [];
  });
  return faults.length > 0 ? faults : [{ check: 'interface', state: 'ok', text: `up: ${names.join(' ')}` }];
}

/** The switch for all of them is one of our own settings; these are for each. */
export function checkForwarding(names: readonly string[], procSys = '/proc/sys'): Finding[] {
  const faults = names.flatMap((name) =>
    ([4, 6] as const).flatMap((family): Finding[] => {
      const key = `net/ipv${family}/conf/${name.replaceAll('.', '/')}/forwarding`;
      return valueOf(`${procSys}/${key}`) !== '0'
        ? []
        : [
            {
              check: 'forwarding',
              state: 'fault',
              text: `off for IPv${family} on ${name}: what is not for this machine goes no further`,
              mend: `sysctl -w ${sysctlKey(family, name, 'forwarding')}=1`,
            },
          ];
    }),
  );
  return faults.length > 0 ? faults : [{ check: 'forwarding', state: 'ok', text: `on: ${names.join(' ')}` }];
}

export function checkMtu(names: readonly string[], links: readonly Link[]): Finding[] {
  const narrow = links.filter(({ ifname, mtu }) => names.includes(ifname) && mtu < LEAST_MTU);
  if (narrow.length === 0) return [{ check: 'mtu', state: 'ok', text: `at least ${LEAST_MTU} octets everywhere` }];
  return narrow.map(({ ifname, mtu }) => ({
    check: 'mtu',
    state: 'fault',
    text: `${mtu} octets on ${ifname}: too little for IPv6`,
    mend: `ip link set dev ${ifname} mtu 1500`,
  }));
}

/** Hosts that have a family which no network names are refused over it; they may try it first. */
export async function checkFamilies({ intercept, network }: Pick<Config, 'intercept' | 'network'>): Promise<Finding[]> {
  const findings = await Promise.all(
    ([4, 6] as const).map(async (family): Promise<Finding[]> => {
      const isNamed = network.some(({ prefixes }) => prefixes.some((prefix) => prefix.family === family));
      const off = intercept.inside.filter(
        (name) => valueOf(`/proc/sys/net/ipv6/conf/${name.replaceAll('.', '/')}/disable_ipv6`) === '1',
      );
      if (family === 6 && isNamed && off.length > 0)
        return off.map((name) => ({
          check: 'families',
          state: 'fault',
          text: `IPv6 is off on ${name}, and networks have IPv6 prefixes`,
          mend: `sysctl -w ${sysctlKey(6, name, 'disable_ipv6')}=0`,
        }));
      if (isNamed) return [];
      const routes = await Promise.all(intercept.inside.map((name) => routesOf(family, ['dev', name])));
      const [route] = routes.flat().filter(({ dst }) => dst !== undefined && !/^(fe80|ff|default)/.test(dst));
      return route === undefined
        ? []
        : [
            {
              check: 'families',
              state: 'fault',
              text: `hosts in ${route.dst} have IPv${family}, and no network has a prefix of it: their mail over it is refused`,
              mend: `add the hosts' IPv${family} prefixes to a network, then postern check`,
            },
          ];
    }),
  );
  const faults = findings.flat();
  return faults.length > 0
    ? faults
    : [{ check: 'families', state: 'ok', text: 'what hosts have, IPv4 and IPv6, is in networks' }];
}

type Route = { readonly dst?: string; readonly dev?: string };

async function routesOf(family: Family, which: readonly string[]): Promise<Route[]> {
  const { code, stdout } = await runCommand('ip', [`-${family}`, '-j', 'route', 'show', ...which]);
  return code === 0 && stdout.trim() !== '' ? (JSON.parse(stdout) as Route[]) : [];
}

function valueOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** As sysctl(8) takes it: with a dot in the interface's name the separators change places. */
function sysctlKey(family: Family, name: string, key: string): string {
  return `net.ipv${family}.conf.${name.replaceAll('.', '/')}.${key}`;
}
