/**
 * The difference between what the kernel shall hold and what it holds, as the steps that close it. Pure. An empty list is
 * the proof that all is as planned; the steps for an empty kernel are the whole installation.
 *
 * The order is that of protection: fences before what passes them, additions before removals, and forwarding last of all.
 * A prefix that moves from one network to another is for an instant in both, never in none.
 */
import type { Family } from '../kit/address.ts';
import type { DesiredState, IpSet, Sysctl, Table } from './desired.ts';
import {
  type KernelFamily,
  type KernelSet,
  type KernelState,
  type KernelTable,
  leadsToUs,
  withLength,
} from './kernel-text.ts';
import { CHAIN_PREFIX } from './names.ts';
import { renderRouting, renderRoutingRemoval, renderSet, renderSwap, renderTable, type TableEdit } from './render.ts';
import type { Spelling } from './spelling.ts';

export type Step = {
  /** what was missing or different, for people */
  readonly because: readonly string[];
} & (
  | { readonly kind: 'sysctl'; readonly key: string; readonly value: string }
  | { readonly kind: 'routing' | 'tables'; readonly family: Family; readonly text: string }
  | { readonly kind: 'sets'; readonly text: string }
);

export function changes(desired: DesiredState, kernel: KernelState, spelling: Spelling): Step[] {
  const families = [...kernel.families];
  const sets = setChanges(desired.sets, kernel.sets);
  // One run of ipset for all of a kind: networks may be many.
  const inOne = (steps: readonly SetStep[]): Step[] =>
    steps.length === 0
      ? []
      : [
          {
            kind: 'sets',
            because: steps.flatMap(({ because }) => because),
            text: steps.map(({ text }) => text).join(''),
          },
        ];
  return [
    ...sysctlChanges(desired.sysctls, kernel),
    ...families.flatMap(([family, has]) => routingAdditions(desired, family, has)),
    ...inOne(sets.additions),
    ...families.flatMap(([family, has]) => tableChanges(desired, family, has, spelling)),
    ...inOne(sets.removals),
    ...families.flatMap(([family, has]) => routingRemovals(desired, family, has)),
    ...sysctlChanges(desired.forwarding, kernel),
  ];
}

function sysctlChanges(list: readonly Sysctl[], { sysctls }: KernelState): Step[] {
  return list
    .filter(({ key, value }) => sysctls.has(key) && sysctls.get(key) !== value)
    .map(({ key, value }) => ({ kind: 'sysctl', key, value, because: [`sysctl ${key}`] }));
}

function routingAdditions({ families }: DesiredState, family: Family, has: KernelFamily): Step[] {
  const routes = families[family].routes.filter((route) => !has.routes.includes(route));
  const rules = families[family].rules.filter((rule) => !has.rules.includes(rule));
  const because = [...routes, ...rules].map((what) => `ipv${family} ${what}`);
  return because.length === 0 ? [] : [{ kind: 'routing', family, because, text: renderRouting({ routes, rules }) }];
}

function routingRemovals({ families }: DesiredState, family: Family, has: KernelFamily): Step[] {
  const routes = has.routes.filter((route) => !families[family].routes.includes(route));
  const rules = has.rules.filter((rule) => !families[family].rules.includes(rule));
  const because = [...routes, ...rules].map((what) => `ipv${family} not planned: ${what}`);
  return because.length === 0
    ? []
    : [{ kind: 'routing', family, because, text: renderRoutingRemoval({ routes, rules }) }];
}

type SetStep = { readonly because: readonly string[]; readonly text: string };

function setChanges(
  desired: readonly IpSet[],
  kernel: ReadonlyMap<string, KernelSet>,
): { readonly additions: SetStep[]; readonly removals: SetStep[] } {
  const additions: SetStep[] = [];
  const removals: SetStep[] = [];
  for (const set of desired) {
    const has = kernel.get(set.name);
    if (!has) additions.push({ because: [`set ${set.name}`], text: renderSet(set) });
    else if (has.type !== set.type) additions.push({ because: [`options of set ${set.name}`], text: renderSwap(set) });
    else if (set.members) {
      const { missing, surplus } = compareMembers(set.members, has);
      const because = [`members of set ${set.name}`];
      if (missing.length > 0)
        additions.push({
          because,
          text: missing.map((one) => `add ${set.name} ${one} -exist\n`).join(''),
        });
      if (surplus.length > 0)
        removals.push({
          because,
          text: surplus.map((one) => `del ${set.name} ${one} -exist\n`).join(''),
        });
    }
  }
  const planned = new Set(desired.map(({ name }) => name));
  for (const name of kernel.keys()) {
    if (!planned.has(name)) removals.push({ because: [`set ${name} not planned`], text: `destroy ${name}\n` });
  }
  return { additions, removals };
}

function compareMembers(wanted: readonly string[], { members }: KernelSet): { missing: string[]; surplus: string[] } {
  const surplus = new Set(
    Array.from(members, ([element, { isException }]) => `${withLength(element)}${isException ? ' nomatch' : ''}`),
  );
  const missing = wanted.filter((member) => !surplus.delete(member));
  // An element that becomes an exception, or is one no more, is changed by being added: there is one for each prefix.
  const changed = new Set(missing.map(prefixOf));
  return { missing, surplus: [...surplus].map(prefixOf).filter((prefix) => !changed.has(prefix)) };
}

function prefixOf(member: string): string {
  return member.replace(' nomatch', '');
}

function tableChanges({ families }: DesiredState, family: Family, has: KernelFamily, spelling: Spelling): Step[] {
  const edits: TableEdit[] = [];
  const because: string[] = [];
  for (const table of families[family].tables) {
    const edit = tableEdit(table, has.tables.get(table.name) ?? new Map(), family, spelling);
    if (!edit) continue;
    edits.push(edit);
    const place = `ipv${family} ${table.name}`;
    because.push(
      ...edit.chains.map(({ name }) => `${place} ${name}`),
      ...edit.jumps.map(({ from }) => `${place} ${from} position 1`),
      ...edit.removedChains.map((name) => `${place} ${name} not planned`),
    );
  }
  return edits.length === 0
    ? []
    : [{ kind: 'tables', family, because, text: edits.map((edit) => renderTable(edit)).join('') }];
}

/** What is to be done to one table; undefined when nothing. */
function tableEdit(table: Table, has: KernelTable, family: Family, spelling: Spelling): TableEdit | undefined {
  const chains = table.chains.filter(({ name, rules }) => {
    const chain = has.get(name)?.map(({ rule }) => rule);
    return !chain || !spelling.same(`${family} ${table.name} ${name}`, rules, chain);
  });
  const planned = new Set(table.chains.map(({ name }) => name));
  const removedChains = [...has.keys()].filter((name) => name.startsWith(CHAIN_PREFIX) && !planned.has(name));

  const jumps: TableEdit['jumps'][number][] = [];
  const removedJumps: TableEdit['removedJumps'][number][] = [];
  const foreign = [...has].filter(([name]) => !name.startsWith(CHAIN_PREFIX));
  for (const [from, rules] of foreign) {
    const wanted = table.jumps.find((jump) => jump.from === from);
    const ours = rules.map(({ rule }) => rule).filter((rule) => leadsToUs(rule));
    const isRight =
      wanted &&
      ours.length === wanted.rules.length &&
      ours.every((rule, i) => rule === rules[i]?.rule) &&
      spelling.same(`${family} ${table.name} ${from} jump`, wanted.rules, ours);
    if (isRight) continue;
    removedJumps.push(...ours.map((rule) => ({ from, rule })));
    if (wanted) jumps.push(wanted);
  }
  // A table that nobody has used yet has no chains to be listed.
  jumps.push(...table.jumps.filter((jump) => !has.has(jump.from)));
  const isEmpty = [chains, jumps, removedJumps, removedChains].every((list) => list.length === 0);
  return isEmpty ? undefined : { name: table.name, chains, jumps, removedJumps, removedChains };
}
