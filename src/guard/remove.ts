/**
 * Takes away exactly what is ours, known by its names, marks and numbers: needs no configuration and no other process.
 *
 * The reverse of the way in: tables first, so that nothing is handed to workers any more; the fence in routing last. What
 * was set with sysctl stays, since what it was before is not known, and others may rely on it by now.
 */
import type { Family } from '../kit/address.ts';
import { execute } from './apply.ts';
import type { Step } from './changes.ts';
import { type KernelFamily, type KernelState, type KernelTable, leadsToUs } from './kernel-text.ts';
import { CHAIN_PREFIX } from './names.ts';
import { readKernel } from './read.ts';
import { renderRoutingRemoval, renderTable } from './render.ts';

/** Removes everything and returns what it was. */
export async function removeAll(): Promise<readonly string[]> {
  const steps = removal(await readKernel());
  for (const step of steps) await execute(step);
  return steps.flatMap(({ because }) => because);
}

/** Pure: the steps from a kernel with whatever of ours to one with nothing of it. */
export function removal({ families, sets }: KernelState): Step[] {
  return [
    ...[...families].flatMap(([family, has]) => tableRemoval(family, has)),
    ...(sets.size === 0
      ? []
      : [
          {
            kind: 'sets' as const,
            because: [...sets.keys()].map((name) => `set ${name}`),
            text: [...sets.keys()].map((name) => `destroy ${name}\n`).join(''),
          },
        ]),
    ...[...families].flatMap(([family, { rules, routes }]): Step[] => {
      const because = [...rules, ...routes].map((what) => `ipv${family} ${what}`);
      return because.length === 0
        ? []
        : [{ kind: 'routing', family, because, text: renderRoutingRemoval({ rules, routes }) }];
    }),
  ];
}

function tableRemoval(family: Family, { tables }: KernelFamily): Step[] {
  const because: string[] = [];
  let text = '';
  for (const [name, table] of tables) {
    const { removedJumps, removedChains } = oursIn(table);
    if (removedJumps.length + removedChains.length === 0) continue;
    text += renderTable({ name, chains: [], jumps: [], removedJumps, removedChains });
    because.push(...removedChains.map((chain) => `ipv${family} ${name} ${chain}`));
  }
  return text === '' ? [] : [{ kind: 'tables', family, because, text }];
}

function oursIn(table: KernelTable): {
  readonly removedJumps: { readonly from: string; readonly rule: string }[];
  readonly removedChains: string[];
} {
  const isOurs = (chain: string): boolean => chain.startsWith(CHAIN_PREFIX);
  return {
    removedJumps: [...table]
      .filter(([chain]) => !isOurs(chain))
      .flatMap(([from, rules]) => rules.filter(({ rule }) => leadsToUs(rule)).map(({ rule }) => ({ from, rule }))),
    removedChains: [...table.keys()].filter(isOurs),
  };
}
