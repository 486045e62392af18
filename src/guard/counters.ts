/**
 * What the kernel's counters say, as totals that only grow while the guard runs: a rule that is put back after a flush
 * or a reload counts from zero again, and its earlier count is kept here.
 */
import type { Family } from '../kit/address.ts';
import type { KernelReport } from '../ledger/language.ts';
import { type KernelSet, type KernelState, withLength } from './kernel-text.ts';
import { FAMILIES, REFUSAL_COMMENT, SETS } from './names.ts';

const TOP_REFUSED = 20;

export type Counted = Pick<KernelReport, 'refused' | 'exemptTo' | 'topRefused'>;

export class Counters {
  readonly #refused = new Totals();
  readonly #exemptTo = new Totals();

  /** Takes in what was just read of the kernel. Every rule that can refuse is named, with 0 too. */
  read(kernel: KernelState): Counted {
    this.#refused.read(refusalRules(kernel));
    this.#exemptTo.read(exemptElements(kernel));
    return {
      refused: this.#refused.list().map(([key, packets]) => {
        const [network = '', reason = ''] = key.split(' ');
        return { network, reason, packets };
      }),
      exemptTo: this.#exemptTo.list().map(([prefix, packets]) => ({ prefix, packets })),
      topRefused: topRefused(kernel),
    };
  }
}

type Count = { readonly place: string; readonly total: string; readonly packets: number };

/** Sums of counters; several places may count for one total. */
class Totals {
  #last = new Map<string, number>();
  readonly #totals = new Map<string, number>();

  read(counts: readonly Count[]): void {
    const now = new Map<string, number>();
    const live = new Set<string>();
    for (const { place, total, packets } of counts) {
      const before = this.#last.get(place) ?? 0;
      const more = packets >= before ? packets - before : packets;
      this.#totals.set(total, (this.#totals.get(total) ?? 0) + more);
      now.set(place, packets);
      live.add(total);
    }
    // What has left the configuration is forgotten; between a flush and its repair nothing is live, and nothing forgotten.
    if (live.size > 0) for (const total of this.#totals.keys()) if (!live.has(total)) this.#totals.delete(total);
    this.#last = now;
  }

  list(): [string, number][] {
    return [...this.#totals].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

function refusalRules({ families }: KernelState): Count[] {
  const counts: Count[] = [];
  for (const [family, { tables }] of families) {
    for (const [table, chains] of tables) {
      for (const [chain, rules] of chains) {
        for (const { rule, packets } of rules) {
          const comment = /--comment "?([^" ]+)"?/.exec(rule)?.[1] ?? '';
          const [, network, reason] = REFUSAL_COMMENT.exec(comment) ?? [];
          if (network === undefined) continue;
          counts.push({ place: `${family} ${table} ${chain} ${rule}`, total: `${network} ${reason}`, packets });
        }
      }
    }
  }
  return counts;
}

function exemptElements({ sets }: KernelState): Count[] {
  return elements(sets, SETS.exemptTo).map(([element, packets]) => {
    const prefix = withLength(element);
    return { place: prefix, total: prefix, packets };
  });
}

/** The sources with most refused connections in about the last hour. An IPv6 source is a /64, as everywhere. */
function topRefused({ sets }: KernelState): KernelReport['topRefused'] {
  return elements(sets, SETS.refused)
    .map(([element, packets]) => ({ source: element.includes(':') ? `${element}/64` : element, packets }))
    .sort((a, b) => b.packets - a.packets)
    .slice(0, TOP_REFUSED);
}

function elements(sets: ReadonlyMap<string, KernelSet>, name: (family: Family) => string): [string, number][] {
  return FAMILIES.flatMap((family) =>
    [...(sets.get(name(family))?.members ?? [])].map(([element, { packets }]): [string, number] => [element, packets]),
  );
}
