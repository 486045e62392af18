/** From data to the exact text that the system's tools are fed: shown, compared with golden files, and applied. */
import type { Chain, DesiredState, IpSet, Table } from './desired.ts';
import { FAMILIES, ROUTE_PROTOCOL, SETS } from './names.ts';
import { ROUTE_TABLE_WORDS } from './kernel-text.ts';

const OURS = `protocol ${ROUTE_PROTOCOL}`;

/** What is done to one table; all of it happens in one instant or not at all. */
export type TableEdit = {
  readonly name: string;
  /** made, or emptied and filled anew */
  readonly chains: readonly Chain[];
  /** rules of foreign chains that lead into ours, each as the kernel spells it */
  readonly removedJumps: readonly { readonly from: string; readonly rule: string }[];
  readonly jumps: Table['jumps'];
  readonly removedChains: readonly string[];
};

/** For `iptables-restore --noflush` and `ip6tables-restore --noflush`. */
export function renderTable(edit: TableEdit): string {
  return lines([
    `*${edit.name}`,
    ...edit.chains.map(({ name }) => `:${name} - [0:0]`),
    ...edit.chains.flatMap(({ name, about, rules }) => [`# ${about}`, ...rules.map((rule) => `-A ${name} ${rule}`)]),
    ...edit.removedJumps.map(({ from, rule }) => `-D ${from} ${rule}`),
    ...edit.jumps.flatMap(({ from, rules }) => rules.map((rule, i) => `-I ${from} ${i + 1} ${rule}`)),
    ...edit.removedChains.map((name) => `-F ${name}`),
    ...edit.removedChains.map((name) => `-X ${name}`),
    'COMMIT',
  ]);
}

/** The whole of a table, as for a kernel that has nothing of it. */
export const wholeTable = ({ name, chains, jumps }: Table): TableEdit => ({
  name,
  chains,
  jumps,
  removedJumps: [],
  removedChains: [],
});

/** For `ipset restore`: a new set with its members. */
export function renderSet({ name, type, members }: IpSet): string {
  // A full set of counted sources makes room for a new one; ipset does not print this option back.
  const room = name.startsWith(SETS.refusedPrefix) ? ' forceadd' : '';
  return lines([`create ${name} ${type}${room}`, ...(members ?? []).map((member) => `add ${name} ${member}`)]);
}

/** For `ipset restore`: a set of another make is replaced in one instant, with all its members. */
export function renderSwap(set: IpSet): string {
  const next = SETS.next(set.name);
  return `${renderSet({ ...set, name: next })}swap ${next} ${set.name}\ndestroy ${next}\n`;
}

export type RoutingEdit = {
  readonly routes: readonly string[];
  readonly rules: readonly string[];
};

/** For `ip -batch`. Routes first: a rule that leads into an empty table would lead on to the next rule. */
export function renderRouting({ routes, rules }: RoutingEdit): string {
  return lines([
    ...routes.map((route) => `route replace ${route} ${ROUTE_TABLE_WORDS} ${OURS}`),
    ...rules.map((rule) => `rule add ${rule} ${OURS}`),
  ]);
}

export function renderRoutingRemoval({ routes, rules }: RoutingEdit): string {
  return lines([
    ...rules.map((rule) => `rule del ${rule} ${OURS}`),
    ...routes.map((route) => `route del ${route} ${ROUTE_TABLE_WORDS}`),
  ]);
}

/** Everything, in the order in which an empty kernel is given it; each part under the command that takes it. */
export function renderAll({ sysctls, families, sets, forwarding }: DesiredState): string {
  const part = (title: string, text: string): string => `### ${title}\n${text}`;
  const keys = (list: DesiredState['sysctls']): string =>
    lines(list.map(({ key, value }) => `${key.replaceAll('/', '.')} = ${value}`));
  return [
    part('sysctl', keys(sysctls)),
    ...FAMILIES.map((family) => part(`ip -${family} -batch -`, renderRouting(families[family]))),
    part('ipset restore', sets.map((set) => renderSet(set)).join('')),
    ...FAMILIES.map((family) =>
      part(
        `${RESTORE[family]} --noflush`,
        families[family].tables.map((table) => renderTable(wholeTable(table))).join(''),
      ),
    ),
    part('sysctl', keys(forwarding)),
  ].join('\n');
}

export const RESTORE = { 4: 'iptables-restore', 6: 'ip6tables-restore' } as const;

const lines = (list: readonly string[]): string => list.map((line) => `${line}\n`).join('');
