/** A kernel as data: what the tools of the system would print of a plan that is in force. */
import { parseConfig } from '../../../src/config/load.ts';
import type { DesiredState, Table } from '../../../src/guard/desired.ts';
import {
  type KernelFamily,
  type KernelState,
  type KernelTable,
  parseSets,
  parseTables,
} from '../../../src/guard/kernel-text.ts';
import { FAMILIES } from '../../../src/guard/names.ts';
import { plan } from '../../../src/guard/plan.ts';

export const WORKER_UID = 60927;

export async function planOf(networks: string, intercept = ''): Promise<DesiredState> {
  const text = [
    '[gateway]\nname = "gw1.example.net"',
    `[intercept]\ninside = ["lan0"]\n${intercept}`,
    '[smarthost]\nservers = ["192.0.2.25:587"]',
    networks,
  ].join('\n');
  const loaded = await parseConfig(text, 'test.toml');
  if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join('\n'));
  return plan(loaded.config, { workerUid: WORKER_UID });
}

export const oneNetwork = (name: string, prefixes: readonly string[], rest = ''): string =>
  `[[network]]\nname = "${name}"\nprefixes = ${JSON.stringify(prefixes)}\n${rest}\n`;

export const emptyKernel: KernelState = {
  sysctls: new Map([
    ['net/ipv4/tcp_early_demux', '1'],
    ['net/ipv4/ip_forward', '0'],
    ['net/ipv6/conf/all/forwarding', '0'],
  ]),
  families: new Map(FAMILIES.map((family) => [family, { tables: new Map(), rules: [], routes: [] }])),
  sets: new Map(),
};

/** The text of `iptables-save -c` for these tables, after `before` in each of the kernel's own chains. */
export function saved(tables: readonly Table[], packets = 0): string {
  return tables
    .map(({ name, chains, jumps }) =>
      [
        `*${name}`,
        ...jumps.map(({ from }) => `:${from} ACCEPT [0:0]`),
        ...chains.map((chain) => `:${chain.name} - [0:0]`),
        ...jumps.flatMap(({ from, rules }) => rules.map((rule) => `[${packets}:0] -A ${from} ${rule}`)),
        ...chains.flatMap((chain) => chain.rules.map((rule) => `[${packets}:0] -A ${chain.name} ${rule}`)),
        'COMMIT\n',
      ].join('\n'),
    )
    .join('');
}

/** A kernel in which a plan is in force; `packets` is what each rule has counted. */
export function kernelWith(desired: DesiredState, packets = 0): KernelState {
  return {
    sysctls: new Map([...desired.sysctls, ...desired.forwarding].map(({ key, value }) => [key, value])),
    families: new Map(
      FAMILIES.map((family) => {
        const { tables, rules, routes } = desired.families[family];
        return [family, { tables: parseTables(saved(tables, packets)), rules, routes }];
      }),
    ),
    sets: new Map(
      desired.sets.map(({ name, type, members }) => [
        name,
        {
          type,
          members:
            parseSets([`create ${name} ${type}`, ...(members ?? []).map((m) => `add ${name} ${m}`)].join('\n')).get(
              name,
            )?.members ?? new Map(),
        },
      ]),
    ),
  };
}

/** The same kernel with one chain of one family's table changed; undefined takes it away. */
export function withChain(
  kernel: KernelState,
  [family, table, chain]: readonly [4 | 6, 'mangle' | 'filter', string],
  change: (rules: readonly string[]) => readonly string[] | undefined,
): KernelState {
  const has = kernel.families.get(family) as KernelFamily;
  const chains = new Map(has.tables.get(table) as KernelTable);
  const rules = change((chains.get(chain) ?? []).map(({ rule }) => rule));
  if (rules)
    chains.set(
      chain,
      rules.map((rule) => ({ rule, packets: 0 })),
    );
  else chains.delete(chain);
  const changed: KernelFamily = { ...has, tables: new Map([...has.tables, [table, chains]]) };
  return { ...kernel, families: new Map([...kernel.families, [family, changed]]) };
}

export function withSets(
  kernel: KernelState,
  sets: Readonly<Record<string, KernelSetLiteral | undefined>>,
): KernelState {
  const all = new Map(kernel.sets);
  for (const [name, set] of Object.entries(sets)) {
    if (!set) all.delete(name);
    else all.set(name, { type: set.type ?? all.get(name)?.type ?? '', members: membersOf(set.members) });
  }
  return { ...kernel, sets: all };
}

type MemberLiteral = { readonly packets?: number; readonly timeoutS?: number };
type KernelSetLiteral = { readonly type?: string; readonly members: Readonly<Record<string, MemberLiteral>> };

function membersOf(literal: KernelSetLiteral['members']) {
  return new Map(
    Object.entries(literal).map(([element, { packets = 0, timeoutS }]) => [element, { packets, timeoutS }] as const),
  );
}
