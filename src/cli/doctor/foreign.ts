/**
 * Rules of others that mail would meet: what is intercepted is delivered to this machine as TCP to port 25, which a firewall
 * that lets nothing in stops; translation and untracked packets take from us what we go by.
 *
 * A rule is read as far as what it says is known; one that may or may not hold for a packet stops nothing here.
 */
import type { Config } from '../../config/schema.ts';
import { contains, type Family, overlaps, parsePrefix, type Prefix } from '../../kit/address.ts';
import { mustRun } from '../../kit/command.ts';
import { leadsToUs } from '../../guard/kernel-text.ts';
import { FAMILIES, MARK } from '../../guard/names.ts';
import { SAVE } from '../../guard/read.ts';
import type { Finding } from './finding.ts';

type Chain = { policy: string; readonly rules: string[] };
/** by `filter INPUT` and the like */
type Chains = ReadonlyMap<string, Chain>;

export type Packet = {
  readonly in?: string;
  readonly out?: string;
  readonly dport?: number;
  readonly sport?: number;
  readonly state: 'NEW' | 'ESTABLISHED';
  /** MARK's words */
  readonly mark: string;
  /** of whom it may be; none: of anybody */
  readonly sources?: readonly Prefix[];
};

type Hit = { readonly target: string; readonly chain: string /** undefined: its policy */; readonly rule?: string };

/** One way that mail takes through a chain, which targets are in its way there, and what mends it. */
type Way = {
  readonly table: string;
  readonly chain: string;
  readonly packet: Packet;
  readonly stops: RegExp;
  readonly means: string;
  /** a rule to be put behind ours; undefined: the one that is in the way has to go */
  readonly before?: string;
};

const DROPS = /^(DROP|REJECT)$/;

export async function checkForeignRules(config: Config, names: readonly string[]): Promise<Finding[]> {
  const found = await Promise.all(
    FAMILIES.map(async (family) => {
      const chains = parseChains(await mustRun(SAVE[family], []));
      return waysOf(config, names, family).flatMap((way) => findingOf(way, chains, family));
    }),
  );
  const faults = [...new Map(found.flat().map((finding) => [finding.text, finding])).values()];
  return faults.length > 0
    ? faults
    : [{ check: 'foreign', state: 'ok', text: 'no rule of iptables that is not ours is in the way' }];
}

function waysOf({ intercept, network, subscriber }: Config, names: readonly string[], family: Family): Way[] {
  const accept = `-m mark --mark ${MARK.proxy} -j ACCEPT`;
  const sources = [...network, ...subscriber]
    .filter(({ egress }) => egress === 'preserve')
    .flatMap(({ prefixes }) => prefixes.filter((prefix) => prefix.family === family));
  const inside = network.flatMap(({ prefixes }) => prefixes.filter((prefix) => prefix.family === family));
  const toHosts = intercept.inside.flatMap((name): Way[] => {
    const packet = { in: name, dport: 25, state: 'NEW', mark: '0x0', sources: inside } as const;
    const taken = { ...packet, mark: MARK.proxy };
    return [
      {
        table: 'raw',
        chain: 'PREROUTING',
        packet,
        stops: /^(DROP|NOTRACK|CT)$/,
        means: 'it is not seen, or not tracked',
      },
      {
        table: 'nat',
        chain: 'PREROUTING',
        packet: taken,
        stops: /^(DNAT|REDIRECT)$/,
        means: 'the server that was called is lost',
      },
      {
        table: 'filter',
        chain: 'INPUT',
        packet: taken,
        stops: DROPS,
        means: 'what is intercepted does not get in',
        before: accept,
      },
      {
        ...{ table: 'filter', chain: 'OUTPUT', stops: DROPS, means: 'hosts get no answer' },
        packet: { out: name, sport: 25, state: 'ESTABLISHED', mark: '0x0' },
        before: '-p tcp --sport 25 -m conntrack --ctstate ESTABLISHED -j ACCEPT',
      },
    ];
  });
  if (sources.length === 0) return toHosts;
  const outside = names.filter((name) => !intercept.inside.includes(name));
  return [
    ...toHosts,
    ...outside.flatMap((name): Way[] => [
      {
        ...{ table: 'nat', chain: 'POSTROUTING', stops: /^(SNAT|MASQUERADE|NETMAP)$/ },
        packet: { out: name, dport: 25, state: 'NEW', mark: MARK.own, sources },
        means: "hosts' own addresses are not kept",
        before: `-m mark --mark ${MARK.own} -j ACCEPT`,
      },
      {
        ...{
          table: 'filter',
          chain: 'INPUT',
          stops: DROPS,
          means: 'what servers answer does not get in',
          before: accept,
        },
        packet: { in: name, sport: 25, state: 'ESTABLISHED', mark: MARK.proxy },
      },
    ]),
  ];
}

function findingOf({ table, chain, packet, stops, means, before }: Way, chains: Chains, family: Family): Finding[] {
  const hit = walk(chains, table, chain, packet);
  if (!hit || !stops.test(hit.target)) return [];
  const command = `${family === 4 ? 'iptables' : 'ip6tables'} -t ${table}`;
  const what = hit.rule === undefined ? `policy ${hit.target}` : hit.rule;
  const place = table === 'nat' ? 1 : 2;
  return [
    {
      check: 'foreign',
      state: 'fault',
      text: `IPv${family} ${table} ${hit.chain}: ${what}: ${means}`,
      mend:
        before === undefined ? `${command} -D ${hit.chain} ${hit.rule}` : `${command} -I ${chain} ${place} ${before}`,
    },
  ];
}

export function parseChains(text: string): Chains {
  const chains = new Map<string, Chain>();
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const [, name = '', policy = ''] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== '') chains.set(`${table} ${name}`, { policy, rules: [] });
    const [, chain = '', rule = ''] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    chains.get(`${table} ${chain}`)?.rules.push(rule);
  }
  return chains;
}

/** Where the packet's way ends in this chain, or the first target that changes it; undefined when it goes on. */
export function walk(chains: Chains, table: string, chain: string, packet: Packet, depth = 0): Hit | undefined {
  const here = chains.get(`${table} ${chain}`);
  for (const rule of here?.rules ?? []) {
    const [, target = ''] = / -[jg] (\S+)/.exec(` ${rule}`) ?? [];
    // Maybe is enough for translation: it would be another's address for some.
    const holds = matches(rule, packet);
    if (leadsToUs(rule) || holds === 'no' || (holds === 'maybe' && !/^(SNAT|MASQUERADE)$/.test(target))) continue;
    if (target === 'RETURN') break;
    if (chains.has(`${table} ${target}`)) {
      const hit = depth < 16 ? walk(chains, table, target, packet, depth + 1) : undefined;
      if (hit) return hit;
    } else if (
      /^(ACCEPT|DROP|REJECT|NOTRACK|DNAT|REDIRECT|SNAT|MASQUERADE|NETMAP)$/.test(target) ||
      / --notrack/.test(rule)
    )
      return { target, chain, rule };
  }
  return here?.policy === 'DROP' ? { target: 'DROP', chain } : undefined;
}

type Holds = 'yes' | 'no' | 'maybe';

/** Whether a rule, in the words of iptables-save, holds for the packet. */
export function matches(rule: string, packet: Packet): Holds {
  const words = rule.replaceAll(/ ?-m comment --comment ("(?:[^"\\]|\\.)*"|\S+)/g, '').split(' ');
  let holds: Holds = 'yes';
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    if (word === '-j' || word === '-g') break;
    if (word === '-m') {
      at++;
      continue;
    }
    const isNot = word === '!';
    const option = isNot ? (words[++at] as string) : word;
    if (!option.startsWith('-')) continue;
    const value = words[++at] ?? '';
    const one = matchesOne(option, value, packet);
    const said = isNot && one !== 'maybe' ? (one === 'yes' ? 'no' : 'yes') : one;
    if (said === 'no') return 'no';
    if (said === 'maybe') holds = 'maybe';
  }
  return holds;
}

function matchesOne(option: string, value: string, packet: Packet): Holds {
  const is = (holds: boolean): Holds => (holds ? 'yes' : 'no');
  const name = (of: string | undefined): Holds =>
    is(of !== undefined && (value.endsWith('+') ? of.startsWith(value.slice(0, -1)) : of === value));
  const port = (of: number | undefined): Holds =>
    of === undefined
      ? 'maybe'
      : is(
          value.split(',').some((range) => {
            const [low = '', high = low] = range.split(':');
            return of >= Number(low) && of <= Number(high);
          }),
        );
  switch (option) {
    case '-p':
      return is(['tcp', 'all', '6'].includes(value));
    case '-i':
      return name(packet.in);
    case '-o':
      return name(packet.out);
    case '--dport':
    case '--dports':
      return port(packet.dport);
    case '--sport':
    case '--sports':
      return port(packet.sport);
    case '--state':
    case '--ctstate':
      return is(value.split(',').includes(packet.state));
    case '--mark': {
      const [wanted = '0', mask = '0xffffffff'] = value.split('/');
      const [has = '0'] = packet.mark.split('/');
      return is((Number(has) & Number(mask)) === Number(wanted));
    }
    case '-s': {
      const of = parsePrefix(value.includes('/') ? value : `${value}/${value.includes(':') ? 128 : 32}`);
      if (!of || !packet.sources) return 'maybe';
      if (
        packet.sources.every(
          (source) => of.length <= source.length && contains(of, { family: source.family, value: source.base }),
        )
      )
        return 'yes';
      return packet.sources.some((source) => overlaps(of, source)) ? 'maybe' : 'no';
    }
    default:
      return 'maybe';
  }
}
