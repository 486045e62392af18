/** What the kernel holds, read from what the system's tools print. Pure; read.ts runs the tools. */
import type { Family } from '../kit/address.ts';
import { CHAIN_PREFIX, PREFERENCE, ROUTE_PROTOCOL, ROUTE_TABLE } from './names.ts';

export type KernelRule = { readonly rule: string; readonly packets: number };

/** One table: every chain, foreign ones too, with its rules in order. */
export type KernelTable = ReadonlyMap<string, readonly KernelRule[]>;

export type Member = {
  readonly packets: number;
  /** what is left of its time; undefined or 0 for ever */
  readonly timeoutS: number | undefined;
  /** it says no for what lies in it */
  readonly isException?: true;
};
export type KernelSet = {
  readonly type: string;
  /** by address or prefix as ipset spells it, but always with a length */
  readonly members: ReadonlyMap<string, Member>;
};

export type KernelFamily = {
  readonly tables: ReadonlyMap<string, KernelTable>;
  /** our routing rules, in the words of `ip rule add` without `protocol` */
  readonly rules: readonly string[];
  /** what stands in ROUTE_TABLE, whoever put it there */
  readonly routes: readonly string[];
};

export type KernelState = {
  /** a key that this kernel does not have is missing */
  readonly sysctls: ReadonlyMap<string, string>;
  /** families that this kernel speaks */
  readonly families: ReadonlyMap<Family, KernelFamily>;
  /** ours only */
  readonly sets: ReadonlyMap<string, KernelSet>;
};

/** The output of `iptables-save -c`. */
export function parseTables(text: string): Map<string, KernelTable> {
  const tables = new Map<string, KernelTable>();
  let chains = new Map<string, KernelRule[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      chains = new Map();
      tables.set(line.slice(1), chains);
    } else if (line.startsWith(':')) {
      chains.set(line.slice(1, line.indexOf(' ')), []);
    } else {
      const [, packets, chain = '', rule = ''] = /^\[(\d+):\d+\] -A (\S+)(?: (.*))?$/.exec(line) ?? [];
      if (packets !== undefined) chains.get(chain)?.push({ rule, packets: Number(packets) });
    }
  }
  return tables;
}

/** Does a rule of a chain that is not ours lead into one of ours? */
export function leadsToUs(rule: string): boolean {
  return new RegExp(` -[jg] ${CHAIN_PREFIX}\\S+$`).test(` ${rule}`);
}

/** The lines of `ipset save`. */
export function parseSets(text: string): Map<string, KernelSet> {
  const sets = new Map<string, { type: string; members: Map<string, Member> }>();
  for (const line of text.split('\n')) {
    // In its interactive mode ipset prints its prompt even to a pipe.
    const [verb, name = '', ...words] = line.replace(/^(ipset> )+/, '').split(' ');
    if (verb === 'create') sets.set(name, { type: setType(words.join(' ')), members: new Map() });
    else if (verb === 'add') {
      const [element = '', ...extensions] = words;
      const valueOf = (word: string): number | undefined => {
        const at = extensions.indexOf(word);
        return at < 0 ? undefined : Number(extensions[at + 1]);
      };
      sets.get(name)?.members.set(element, {
        packets: valueOf('packets') ?? 0,
        timeoutS: valueOf('timeout'),
        ...(extensions.includes('nomatch') && { isException: true as const }),
      });
    }
  }
  return sets;
}

/** Type and options without what the kernel chooses, and without `forceadd`, which is not printed back. */
export function setType(text: string): string {
  return text.replace(/ (hashsize|bucketsize|initval) \S+| forceadd/g, '');
}

/** `198.51.100.7` as ipset prints it is `198.51.100.7/32` to us. */
export function withLength(element: string): string {
  return element.includes('/') ? element : `${element}/${element.includes(':') ? 128 : 32}`;
}

type Json = Readonly<Record<string, string | number | null>>;
const OURS: ReadonlySet<unknown> = new Set(Object.values(PREFERENCE));

/** The output of `ip -j rule`; only rules that are marked as ours. */
export function parseRules(text: string): string[] {
  return (JSON.parse(text) as Json[])
    .filter(({ protocol, priority }) => String(protocol) === String(ROUTE_PROTOCOL) && OURS.has(priority))
    .map((rule) => ruleText(rule));
}

/** The keys of a rule and the words they become, in the order in which our own rules are written. */
const RULE_WORDS: readonly (readonly [key: string, say: (value: string, rule: Json) => string])[] = [
  ['priority', (value) => `pref ${value}`],
  ['not', () => 'not'],
  ['src', (value, { srclen }) => (value === 'all' ? '' : `from ${value}/${srclen ?? 32}`)],
  ['srclen', () => ''],
  ['dst', (value, { dstlen }) => `to ${value}/${dstlen ?? 32}`],
  ['dstlen', () => ''],
  ['fwmark', (value, { fwmask }) => `fwmark ${value}/${fwmask ?? '0xffffffff'}`],
  ['fwmask', () => ''],
  ['iif', (value) => `iif ${value}`],
  // the interface does not exist at the moment; the rule waits for it
  ['iif_detached', () => ''],
  ['uid_start', (value, { uid_end: last }) => `uidrange ${value}-${last}`],
  ['uid_end', () => ''],
  ['ipproto', (value) => `ipproto ${value}`],
  ['dport', (value) => `dport ${value}`],
  ['table', (value) => `lookup ${value}`],
  ['goto', (value) => `goto ${value}`],
  ['unresolved', () => ''],
  ['nop', () => 'nop'],
  ['action', (value) => value],
  ['protocol', () => ''],
];
const RULE_KEYS: ReadonlySet<string> = new Set(RULE_WORDS.map(([key]) => key));

/** A rule in the words of `ip rule add`. A key that no rule of ours has makes it different from all of them. */
function ruleText(rule: Json): string {
  const known = RULE_WORDS.filter(([key]) => rule[key] !== undefined).map(([key, say]) => say(String(rule[key]), rule));
  const others = Object.keys(rule)
    .filter((key) => !RULE_KEYS.has(key))
    .map((key) => `${key} ${rule[key]}`);
  return [...known, ...others].filter((words) => words !== '').join(' ');
}

/** The output of `ip -j route show table N`. */
export function parseRoutes(text: string): string[] {
  return (JSON.parse(text) as Json[]).map(({ type, dst, gateway, dev, prefsrc }) =>
    [type ?? 'unicast', dst, ...pair('via', gateway), ...pair('dev', dev), ...pair('src', prefsrc)].join(' '),
  );
}

const pair = (word: string, value: string | number | null | undefined): string[] =>
  value === undefined ? [] : [`${word} ${value}`];

export const ROUTE_TABLE_WORDS = `table ${ROUTE_TABLE}`;
