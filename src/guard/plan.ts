/**
 * From the configuration to what the kernel shall hold, as data. Pure: no kernel, no clock, no file.
 *
 * A connection to port 25 is decided once, at its SYN (chains.ts); its packets are then known by the connection mark. Three
 * things keep port 25 shut besides, and none of them needs the others:
 *
 * - mangle/PREROUTING decides; whatever it did not let through has no mark for that;
 * - filter/FORWARD refuses packets to port 25 from inside without that mark;
 * - a routing rule, outside of all tables, refuses the same, so that nothing leaves when every table has been flushed.
 *   It finds no port in a fragment; packets are whole as long as any table of ours stands, since tracking connections
 *   puts them together. What is left is a SYN cut in two, in the seconds between a flush of everything and the repair.
 */
import type { Config } from '../config/schema.ts';
import type { Family, Prefix } from '../kit/address.ts';
import { filterTable, mangleTable } from './chains.ts';
import { canPass, groupsOf } from './groups.ts';
import { type DesiredState, type FamilyState, type IpSet, setMembers } from './desired.ts';
import { exemptPrefixes } from './exempt.ts';
import { FAMILIES, MARK, PREFERENCE, ROUTE_TABLE, SETS } from './names.ts';

export type PlanOptions = {
  /** the only user of this machine that may connect to port 25 elsewhere */
  readonly workerUid: number;
};

export function plan(config: Config, options: PlanOptions): DesiredState {
  const family = (family: Family): FamilyState => ({
    tables: [mangleTable(config, family), filterTable(config, options.workerUid)],
    rules: routingRules(config, family, options.workerUid),
    // The source is for connections of this machine's own that are sent here to be refused: without it the kernel would
    // take the destination's address for one and fail before OUTPUT has counted.
    routes: [`local default dev lo src ${family === 4 ? '127.0.0.1' : '::1'}`],
  });
  return {
    // Otherwise a flow that is let through stalls on what an intercepted one has left in TIME-WAIT. The key is for IPv6, too.
    sysctls: [{ key: 'net/ipv4/tcp_early_demux', value: '0' }],
    families: { 4: family(4), 6: family(6) },
    sets: [
      { name: SETS.alive, type: 'bitmap:port range 25-25 timeout 3', members: undefined },
      ...FAMILIES.flatMap((family) => setsOf(config, family)),
    ],
    forwarding: [
      { key: 'net/ipv4/ip_forward', value: '1' },
      { key: 'net/ipv6/conf/all/forwarding', value: '1' },
    ],
  };
}

const MAX_ELEMENTS = 1_048_576;
/** sources whose refusals are counted at a time; a new one then takes the place of another */
const MAX_REFUSED = 65_536;
const REFUSED_TIMEOUT_S = 3600;

function setsOf(config: Config, family: Family): IpSet[] {
  const inet = family === 4 ? 'inet' : 'inet6';
  const prefixes = `hash:net family ${inet} maxelem ${MAX_ELEMENTS}`;
  const exemptTo = setMembers(exemptPrefixes(config), family);
  return [
    { name: SETS.locked(family), type: `${prefixes} timeout 0`, members: undefined },
    {
      name: SETS.refused(family),
      type: `hash:ip family ${inet} maxelem ${MAX_REFUSED}${family === 6 ? ' netmask 64' : ''} timeout ${REFUSED_TIMEOUT_S} counters`,
      members: undefined,
    },
    ...(exemptTo.length > 0 ? [{ name: SETS.exemptTo(family), type: `${prefixes} counters`, members: exemptTo }] : []),
    ...groupsOf(config)
      .map(({ id, prefixes: of, except }) => ({
        name: SETS.network(id, family),
        members: [...setMembers(of, family), ...setMembers(except, family).map((one) => `${one} nomatch`)],
      }))
      .filter(({ members }) => members.length > 0)
      .map(({ name, members }) => ({ name, type: prefixes, members })),
  ];
}

function routingRules(config: Config, family: Family, workerUid: number): string[] {
  const local = `lookup ${ROUTE_TABLE}`;
  return [
    // Behind filter/OUTPUT for what this machine itself sends. Root's packets are left out, since the kernel's own answers
    // (a reset, a late acknowledgement) are root's, and since reverse path checks of packets from port 25 ask as root.
    ...otherUsers(workerUid).map(
      (uids) => `pref ${PREFERENCE.output} iif lo uidrange ${uids} ipproto tcp dport 25 ${local}`,
    ),
    // Marks are for packets that come in: with tcp_fwmark_accept, fwmark_reflect or src_valid_mark set by somebody, the
    // answers of this machine would be routed by them as well, and would never leave it.
    `pref ${PREFERENCE.local} iif lo goto ${PREFERENCE.end}`,
    `pref ${PREFERENCE.marks} fwmark ${MARK.letThrough} goto ${PREFERENCE.end}`,
    `pref ${PREFERENCE.marks} fwmark ${MARK.proxy} ${local}`,
    `pref ${PREFERENCE.marks} fwmark ${MARK.refuse} ${local}`,
    ...(family === 4 ? openInRouting(config) : []),
    ...config.intercept.inside.map((name) => `pref ${PREFERENCE.fence} iif ${name} ipproto tcp dport 25 prohibit`),
    `pref ${PREFERENCE.end} nop`,
  ];
}

/**
 * What the routing fence does not hold: hosts and destinations that this configuration may let through. IPv4 alone.
 *
 * With rp_filter, strict or loose, the kernel asks of each answer that is forwarded how its receiver would be routed to
 * its sender. It asks without a mark and as if from inside to port 25, which is just what the fence is for, and a
 * refusal there drops the answer: nobody who was let through would get one. Strangers and closed networks are never let
 * through, so they stay behind all three; the others behind two. (What else asks so and is refused: answers of a
 * connection that was let through before its network was closed, and a server's that connects from its own port 25.)
 */
function openInRouting(config: Config): string[] {
  const prefixes = (list: readonly Prefix[]): string[] => setMembers(list, 4);
  const open = [
    ...groupsOf(config)
      .filter(canPass)
      .flatMap((each) => prefixes(each.prefixes))
      .map((prefix) => `from ${prefix}`),
    ...prefixes(exemptPrefixes(config)).map((prefix) => `to ${prefix}`),
  ];
  if (open.length === 0) return [];
  const end = `goto ${PREFERENCE.end}`;
  return [
    // So that only packets to port 25 are compared with a list that may be long.
    `pref ${PREFERENCE.others} not ipproto tcp dport 25 ${end}`,
    ...open.map((which) => `pref ${PREFERENCE.open} ${which} ${end}`),
  ];
}

/** Ranges of user ids that are neither root nor the worker. */
function otherUsers(workerUid: number): string[] {
  const last = 4294967294;
  const ranges =
    workerUid === 0
      ? [[1, last] as const]
      : ([
          [1, workerUid - 1],
          [workerUid + 1, last],
        ] as const);
  return ranges.filter(([from, to]) => from <= to).map(([from, to]) => `${from}-${to}`);
}
