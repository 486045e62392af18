/** Whether connections of our own come back to us from inside: a router there sends port 25 here, whoever it is from. */
import { mustRun } from '../../kit/command.ts';
import { FAMILIES, refusalComment } from '../../guard/names.ts';
import { SAVE } from '../../guard/read.ts';
import type { Finding } from './finding.ts';

/** What `look` finds; before it the loop that it has shown. */
export async function withLoops(look: () => Promise<Finding[]>): Promise<Finding[]> {
  const before = await dropped();
  const findings = await look();
  const packets = (await dropped()) - before;
  if (packets <= 0) return findings;
  return [
    {
      check: 'loop',
      state: 'fault',
      text: `our own connections come back from inside (${packets} packets): a router there sends port 25 here whoever it is from`,
      mend: "there: have the rule for port 25 hold for what comes from the hosts' side alone (its interface, not this one)",
    },
    ...findings,
  ];
}

/** Packets that the kernel has dropped for it, in both families. */
async function dropped(): Promise<number> {
  const tables = await Promise.all(FAMILIES.map((family) => mustRun(SAVE[family], ['-c', '-t', 'mangle'])));
  const rule = new RegExp(`^\\[(\\d+):\\d+\\] .*--comment "?${refusalComment('-', 'loop')}"?`, 'gm');
  return tables.flatMap((text) => [...text.matchAll(rule)]).reduce((sum, [, packets]) => sum + Number(packets), 0);
}
