/** Asks the kernel what it holds. Changes nothing. */
import { existsSync, readFileSync } from 'node:fs';
import type { Family } from '../kit/address.ts';
import { mustRun, runCommand } from '../kit/command.ts';
import {
  type KernelFamily,
  type KernelSet,
  type KernelState,
  parseRoutes,
  parseRules,
  parseSets,
  parseTables,
  ROUTE_TABLE_WORDS,
} from './kernel-text.ts';
import { FAMILIES, SET_PREFIX } from './names.ts';

export const SAVE = { 4: 'iptables-save', 6: 'ip6tables-save' } as const;

/** Rejects with CommandError when a tool is missing or fails: nothing is then known, and nothing may be concluded. */
export async function readKernel(): Promise<KernelState> {
  const [sets, ...families] = await Promise.all([
    readSets(),
    ...spokenFamilies().map(async (family) => [family, await readFamily(family)] as const),
  ]);
  return { sysctls: readSysctls(), families: new Map(families), sets };
}

/** IPv6 can be left out of a kernel or switched off at its start; then there is nothing to guard in it. */
function spokenFamilies(): Family[] {
  return FAMILIES.filter((family) => family === 4 || existsSync('/proc/sys/net/ipv6'));
}

async function readFamily(family: Family): Promise<KernelFamily> {
  const [tables, rules, routes] = await Promise.all([
    mustRun(SAVE[family], ['-c']),
    mustRun('ip', [`-${family}`, '-j', 'rule', 'show']),
    readRoutes(family),
  ]);
  return { tables: parseTables(tables), rules: parseRules(rules), routes };
}

async function readRoutes(family: Family): Promise<string[]> {
  const args = [`-${family}`, '-j', 'route', 'show', ...ROUTE_TABLE_WORDS.split(' ')];
  const { code, stdout, stderr } = await runCommand('ip', args);
  // The table comes to be with its first route.
  if (code !== 0 && stderr.includes('FIB table does not exist')) return [];
  return parseRoutes(code === 0 ? stdout : await mustRun('ip', args));
}

/** Only sets of ours are read whole: others on this machine may be very large. */
async function readSets(): Promise<Map<string, KernelSet>> {
  const names = (await mustRun('ipset', ['list', '-n'])).split('\n').filter((name) => name.startsWith(SET_PREFIX));
  if (names.length === 0) return new Map();
  return parseSets(await mustRun('ipset', ['-'], { input: names.map((name) => `save ${name}\n`).join('') }));
}

const SYSCTLS = ['net/ipv4/tcp_early_demux', 'net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'];

function readSysctls(): Map<string, string> {
  const values = new Map<string, string>();
  for (const key of SYSCTLS) {
    try {
      values.set(key, readFileSync(`/proc/sys/${key}`, 'utf8').trim());
    } catch {
      // This kernel has no such key: what it is for is not there either.
    }
  }
  return values;
}
