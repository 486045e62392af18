/** Checks of what this kernel holds: our rules as planned, and settings of others that would break them. */
import { readFileSync } from 'node:fs';
import type { Config } from '../../config/schema.ts';
import { changes } from '../../guard/changes.ts';
import { plan } from '../../guard/plan.ts';
import { readKernel } from '../../guard/read.ts';
import { Spelling } from '../../guard/spelling.ts';
import { userOf } from '../../kit/users.ts';
import type { Finding } from './finding.ts';

/** Each thing of ours that is not as planned is a finding of its own, named as the plan names it. */
export async function checkRules(config: Config, configPath: string): Promise<Finding[]> {
  const desired = plan(config, { workerUid: userOf('worker').uid });
  const steps = changes(desired, await readKernel(), new Spelling());
  if (steps.length === 0) return [{ check: 'rules', state: 'ok', text: 'the kernel is as planned' }];
  return steps.flatMap(({ kind, because }) =>
    because.map(
      (what): Finding => ({
        check: CHECK_OF[kind],
        state: 'fault',
        text: `not as planned: ${what}${meaningOf(what)}`,
        mend: `postern guard --rules-only --config ${configPath}`,
      }),
    ),
  );
}

const CHECK_OF = { sysctl: 'sysctl', routing: 'routing', sets: 'sets', tables: 'rules' } as const;

/** For those whose loss is hard to guess from what hosts see. */
function meaningOf(what: string): string {
  if (what.includes('tcp_early_demux'))
    return ': connections that are let through stall on what intercepted ones have left';
  if (what.includes('forward')) return ': what is not for this machine goes no further';
  if (what.includes('fwmark')) return ': packets for workers are routed away instead of to this machine';
  if (/DIVERT|PREROUTING/.test(what))
    return ': hosts and servers get no answer, since packets of connections that end here are not taken';
  return '';
}

/**
 * Strict reverse path filtering (1) drops what comes in where the way back is another, as it may be with several
 * uplinks or with a router in front; loose (2) and none (0) do not.
 */
export function checkReversePath(interfaces: readonly string[], procSys = '/proc/sys'): Finding[] {
  const value = (name: string): number => {
    try {
      return Number(readFileSync(`${procSys}/net/ipv4/conf/${name.replaceAll('.', '/')}/rp_filter`, 'utf8'));
    } catch {
      return 0;
    }
  };
  const strict = interfaces.filter((name) => Math.max(value('all'), value(name)) === 1);
  if (strict.length === 0) return [{ check: 'rp_filter', state: 'ok', text: 'not strict where mail passes' }];
  return strict.map((name) => ({
    check: 'rp_filter',
    state: 'fault',
    text: `strict on ${name}: packets whose way back is another are dropped without a word`,
    mend: `sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.${name.replaceAll('.', '/')}.rp_filter=2`,
  }));
}

const FULL_SHARE = 0.8;

/** Connections that find no room in the table of tracked ones are dropped, whoever's they are. */
export function checkConntrack(procSys = '/proc/sys'): Finding {
  const value = (name: string): number => Number(readFileSync(`${procSys}/net/netfilter/nf_conntrack_${name}`, 'utf8'));
  let tracked: number;
  let most: number;
  try {
    tracked = value('count');
    most = value('max');
  } catch {
    return {
      check: 'conntrack',
      state: 'fault',
      text: 'connections are not tracked: what was decided at a SYN is not remembered',
      mend: 'modprobe nf_conntrack',
    };
  }
  const text = `${tracked} of at most ${most} connections are tracked`;
  return tracked < most * FULL_SHARE
    ? { check: 'conntrack', state: 'ok', text }
    : {
        check: 'conntrack',
        state: 'fault',
        text: `${text}: new ones are dropped when it is full`,
        mend: `sysctl -w net.netfilter.nf_conntrack_max=${most * 4}`,
      };
}
