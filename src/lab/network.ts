/**
 * The built-in network: hosts inside, a gateway, the internet, as three network namespaces on this kernel.
 *
 * ```
 *  inside  eth0 ─── lan0  gateway  wan0 ─── eth0  internet
 *          hosts          forwards          servers
 * ```
 * The gateway forwards and does nothing else: what is taken, refused or let through is the guard's work.
 */
import { parseAddress } from '../kit/address.ts';
import { type Namespace, namespace, removeNamespaces, runHere, writeNames } from './namespace.ts';

export { type Namespace, type Ran, type RunOptions, sweep } from './namespace.ts';

/** An end of the network by both its addresses. */
export type Ends = { readonly v4: string; readonly v6: string };

/** Who is where. `customers` are in the networks 198.51.100.0/25 and 2001:db8:1::/64, the stranger in none. */
export const PLACES = {
  hosts: [
    { v4: '198.51.100.10', v6: '2001:db8:1::10' },
    { v4: '198.51.100.11', v6: '2001:db8:1::11' },
    { v4: '198.51.100.12', v6: '2001:db8:1::12' },
  ],
  stranger: { v4: '198.51.100.200', v6: '2001:db8:1:1::200' },
  gatewayInside: { v4: '198.51.100.1', v6: '2001:db8:1::1' },
  gatewayOutside: { v4: '203.0.113.1', v6: '2001:db8:2::1' },
  /** the server that must never be reached directly */
  direct: { v4: '203.0.113.25', v6: '2001:db8:2::25' },
  smarthost: { v4: '203.0.113.87', v6: '2001:db8:2::87' },
  inside: ['198.51.100.0/24', '2001:db8:1::/48'],
  outside: ['203.0.113.0/24', '2001:db8:2::/64'],
} as const satisfies Record<string, Ends | readonly (Ends | string)[]>;

export type NetworkOptions = {
  /** more addresses for the inside namespace, in 198.51.100.0/24 or 2001:db8:1::/48 */
  readonly hosts?: readonly string[];
  /** more addresses for the internet namespace, in 203.0.113.0/24 or 2001:db8:2::/64 */
  readonly servers?: readonly string[];
  /** names all three namespaces know, through their own /etc/hosts */
  readonly names?: Readonly<Record<string, readonly string[]>>;
};

export type LabNetwork = {
  readonly inside: Namespace;
  readonly gateway: Namespace;
  readonly internet: Namespace;
  /** End every process in the namespaces and delete them. A second call does nothing. */
  readonly destroy: () => Promise<void>;
};

let made = 0;

/**
 * Make a network; about 0.2 s. Everything is usable when it returns: no duplicate address detection is waited for.
 * Needs root, `ip` of iproute2, `sysctl` writable in a new namespace. On any failure nothing is left.
 *
 * The namespaces are removed at the latest when this process exits, by whatever way it can still notice.
 */
export async function createNetwork(options: NetworkOptions = {}): Promise<LabNetwork> {
  const prefix = `pstn${process.pid}-${++made}`;
  const names = { inside: `${prefix}-in`, gateway: `${prefix}-gw`, internet: `${prefix}-net` };
  const all = Object.values(names);
  atExit(all);
  try {
    await ipBatch([
      ...all.map((name) => `netns add ${name}`),
      `link add lan0 netns ${names.gateway} type veth peer name eth0 netns ${names.inside}`,
      `link add wan0 netns ${names.gateway} type veth peer name eth0 netns ${names.internet}`,
    ]);
    for (const name of all) writeNames(name, options.names);
    const both = (ends: Ends): string[] => [ends.v4, ends.v6];
    await Promise.all([
      setUp(names.inside, {
        links: {
          eth0: [...PLACES.hosts.flatMap(both), ...both(PLACES.stranger), ...(options.hosts ?? [])].map((address) =>
            withLength(address, 24, 64),
          ),
        },
        routes: both(PLACES.gatewayInside).map((via, at) => `default via ${via} src ${both(PLACES.hosts[0])[at]}`),
      }),
      setUp(names.gateway, {
        links: {
          lan0: [...both(PLACES.gatewayInside), '2001:db8:1:1::1'].map((address) => withLength(address, 24, 64)),
          wan0: both(PLACES.gatewayOutside).map((address) => withLength(address, 24, 64)),
        },
        routes: [`${PLACES.inside[1]} dev lan0`],
        forwards: true,
      }),
      setUp(names.internet, {
        links: {
          eth0: [...both(PLACES.direct), ...both(PLACES.smarthost), ...(options.servers ?? [])].map((address) =>
            withLength(address, 24, 64),
          ),
        },
        routes: both(PLACES.gatewayOutside).map((via, at) => `default via ${via} src ${both(PLACES.direct)[at]}`),
      }),
    ]);
  } catch (error) {
    forget(all);
    removeNamespaces(all);
    throw error;
  }
  let gone = false;
  return {
    inside: namespace(names.inside),
    gateway: namespace(names.gateway),
    internet: namespace(names.internet),
    destroy: async () => {
      if (gone) return;
      gone = true;
      removeNamespaces(all);
      forget(all);
    },
  };
}

type Part = {
  readonly links: Readonly<Record<string, readonly string[]>>;
  readonly routes: readonly string[];
  readonly forwards?: boolean;
};

/** Everything of one namespace in one process: sysctls first, since they must stand before a link comes up. */
async function setUp(name: string, part: Part): Promise<void> {
  const links = Object.keys(part.links);
  const sysctls = [
    ...['all', 'default', ...links].map((link) => `ipv6/conf/${link}/accept_dad=0`),
    ...(part.forwards ? ['ipv4/ip_forward=1', 'ipv6/conf/all/forwarding=1'] : []),
  ];
  const shell = sysctls.map((pair) => pair.split('=')).map(([key, value]) => `echo ${value} > /proc/sys/net/${key}`);
  const lines = [
    'link set lo up',
    ...Object.entries(part.links).flatMap(([link, addresses]) => [
      ...addresses.map((address) => `addr add ${address} dev ${link}${address.includes(':') ? ' nodad' : ''}`),
      `link set ${link} up`,
    ]),
    ...part.routes.map((route) => `route add ${route}`),
  ];
  const ran = await namespace(name).run('sh', ['-ec', [...shell, 'exec ip -batch -'].join('\n')], {
    input: `${lines.join('\n')}\n`,
  });
  if (ran.code !== 0) throw new Error(`cannot set up the namespace ${name}: ${ran.stderr.trim()}`);
}

async function ipBatch(lines: readonly string[]): Promise<void> {
  const ran = await runHere('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  if (ran.code !== 0) {
    throw new Error(`cannot make network namespaces (needs root): ${ran.stderr.trim()}`);
  }
}

function withLength(address: string, length4: number, length6: number): string {
  const parsed = parseAddress(address);
  if (!parsed) throw new Error(`${JSON.stringify(address)} is no address`);
  return `${address}/${parsed.family === 4 ? length4 : length6}`;
}

const live = new Set<string>();
let watching = false;

/**
 * The last resort. A signal that nobody else handles would end the process without its exit event, so it is handled
 * here and raised again; where somebody else handles it (a prompt, a test runner), the exit is theirs to bring about.
 */
function atExit(names: readonly string[]): void {
  for (const name of names) live.add(name);
  if (watching) return;
  watching = true;
  process.on('exit', () => removeNamespaces([...live]));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const last = (): void => {
      if (process.listenerCount(signal) > 1) return;
      removeNamespaces([...live]);
      live.clear();
      process.removeListener(signal, last);
      process.kill(process.pid, signal);
    };
    process.on(signal, last);
  }
}

function forget(names: readonly string[]): void {
  for (const name of names) live.delete(name);
}
