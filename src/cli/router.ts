/** `postern router`: for a router elsewhere that hosts are behind, what sends their port 25 here. */
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Family } from '../kit/address.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';
import { ciscoIos } from './router/cisco-ios.ts';
import { frr } from './router/frr.ts';
import { junos } from './router/junos.ts';
import { linux } from './router/linux.ts';
import { mikrotik } from './router/mikrotik.ts';
import type { Platform, Request, Side } from './router/request.ts';
import { vyos } from './router/vyos.ts';

export const platforms: Readonly<Record<string, Platform>> = {
  'cisco-ios': ciscoIos,
  junos,
  mikrotik,
  vyos,
  frr,
  linux,
};

const PLATFORMS = Object.entries(platforms)
  .map(([name, { title }]) => `  ${name.padEnd(11)}${title}\n`)
  .join('');

export const command: Command = {
  name: 'router',
  summary: 'print what a router elsewhere is told, so that it sends port 25 here',
  help: `Usage: postern router PLATFORM --interface NAME --next-hop ADDRESS [--next-hop ADDRESS6] [--config FILE]

Prints, for a router that the hosts are behind, access lists and policy routes that send port 25 of the configured networks
to this machine and refuse port 25 of everybody else, IPv4 and IPv6. When this machine is not there, both are refused.
What comes from this machine must reach the router over another interface than NAME.

${PLATFORMS}
  --interface NAME     the router's interface to the hosts
  --next-hop ADDRESS   this machine, as the router reaches it: one for each family in which networks have prefixes
  --config FILE        the configuration (default ${DEFAULT_CONFIG})

"postern status" shows whether packets of each prefix arrive.

Example: postern router junos --interface ge-0/0/1 --next-hop 192.0.2.1 --next-hop 2001:db8::1
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        interface: { type: 'string' },
        'next-hop': { type: 'string', multiple: true, default: [] },
      },
    });
    const [name = ''] = positionals;
    const platform = Object.hasOwn(platforms, name) ? platforms[name] : undefined;
    if (!platform || positionals.length > 1)
      throw new UsageError(`name one platform: ${Object.keys(platforms).join(', ')}`);
    if (values.interface === undefined || !/^[\w./:-]{1,64}$/.test(values.interface))
      throw new UsageError("--interface: name the router's interface to the hosts, for example eth1");
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(`${message}\n`);
      return 1;
    }
    const request: Request = {
      interface: values.interface,
      sides: [sideOf(4, loaded.config, values['next-hop']), sideOf(6, loaded.config, values['next-hop'])],
    };
    io.out(routerText(name, platform, request));
    return 0;
  },
};

function sideOf(family: Family, { network }: Config, nextHops: readonly string[]): Side {
  const prefixes = network.flatMap((one) => one.prefixes.filter((prefix) => prefix.family === family));
  const strange = nextHops.find((address) => isIP(address) === 0);
  if (strange !== undefined) throw new UsageError(`--next-hop ${JSON.stringify(strange)}: expected an address`);
  const [nextHop, ...more] = nextHops.filter((address) => isIP(address) === family);
  if (more.length > 0) throw new UsageError(`--next-hop: expected one IPv${family} address, not ${more.length + 1}`);
  if (nextHop === undefined && prefixes.length > 0)
    throw new UsageError(`--next-hop: networks have IPv${family} prefixes; name this machine's IPv${family} address`);
  return { family, prefixes: prefixes.map(({ text }) => text), nextHop };
}

function routerText(name: string, { title, comment, notes, text }: Platform, request: Request): string {
  const head = [
    `Made by "postern router ${name}" for ${title}: port 25 of the configured networks goes to the gateway.`,
  ];
  return [...[...head, ...notes].map((line) => `${comment} ${line}`), ...text(request)].join('\n');
}
