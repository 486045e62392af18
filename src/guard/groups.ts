/**
 * Which sources the kernel treats alike: each network, and apart from it those of its subscribers that have another mode,
 * `fail` or `refuse`. Each group has its sets; a source is in exactly one.
 *
 * In a set of prefixes the longest that has the address decides, and an element marked "nomatch" says no: so a prefix that
 * is treated otherwise than the one around it is a member here and an exception there.
 */
import { settingsOf } from '../config/effective.ts';
import type { Config, Network } from '../config/schema.ts';
import type { Prefix } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { groupId } from './names.ts';

export type Group = Pick<Network, 'mode' | 'fail' | 'refuse'> & {
  /** in names of sets and chains: the network's name, or one made of what is different */
  readonly id: string;
  /** in comments, counters and metrics */
  readonly network: string;
  readonly prefixes: Prefix[];
  /** of these, what belongs to another group */
  readonly except: Prefix[];
};

/** The networks in their order, then what differs from them. */
export function groupsOf({ network, subscriber }: Pick<Config, 'network' | 'subscriber'>): readonly Group[] {
  const groups = new Map<string, Group>();
  const groupOf = (settings: Network, isNetwork: boolean): Group => {
    const { name, mode, fail, refuse } = settings;
    const id = isNetwork ? name : groupId([name, mode, fail, refuse].join(' '));
    let group = groups.get(id);
    if (!group) groups.set(id, (group = { id, network: name, mode, fail, refuse, prefixes: [], except: [] }));
    return group;
  };
  const inNetwork = new PrefixMap<Network>();
  for (const one of network) {
    groupOf(one, true).prefixes.push(...one.prefixes);
    for (const prefix of one.prefixes) inNetwork.set(prefix, one);
  }
  const different = subscriber.filter(({ mode, fail, refuse }) => mode ?? fail ?? refuse);
  if (different.length === 0) return [...groups.values()];

  // A subscriber without a setting of its own counts too: it may lie in one that has.
  const inGroup = new PrefixMap<Group>(
    network.flatMap((one) => one.prefixes.map((p) => [p, groupOf(one, true)] as const)),
  );
  const placed: [Prefix, Group][] = [];
  for (const one of subscriber) {
    const [first] = one.prefixes;
    const around = first && inNetwork.around(first);
    if (!around) continue;
    const settings = settingsOf(around, one);
    const isSame = (['mode', 'fail', 'refuse'] as const).every((key) => settings[key] === around[key]);
    const group = groupOf(settings, isSame);
    for (const prefix of one.prefixes) {
      inGroup.set(prefix, group);
      placed.push([prefix, group]);
    }
  }
  for (const [prefix, group] of placed) {
    const outer = inGroup.around(prefix, { shorter: true });
    if (outer === group) continue;
    if (outer) outer.except.push(prefix);
    else {
      // All of a network's prefix: it is no exception there, it is not there.
      const whole = groups.get((inNetwork.around(prefix) as Network).name) as Group;
      if (whole === group) continue;
      whole.prefixes.splice(
        whole.prefixes.findIndex(({ text }) => text === prefix.text),
        1,
      );
    }
    group.prefixes.push(prefix);
  }
  return [...groups.values()];
}

/** Through which connections may pass untouched, always or while no worker answers. */
export function canPass({ mode, fail }: Pick<Group, 'mode' | 'fail'>): boolean {
  return mode === 'exempt' || (fail === 'open' && (mode === 'enforce' || mode === 'observe'));
}
