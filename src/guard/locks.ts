/**
 * Locks that the kernel carries out, kept in its sets for locked sources. The keeper says all locks whenever one changes;
 * what differs is added or taken out element by element, so that one lock among many takes milliseconds.
 */
import { parsePrefix } from '../kit/address.ts';
import type { Lock } from '../ledger/language.ts';
import { setMembers } from './desired.ts';
import { type KernelState, withLength } from './kernel-text.ts';
import { FAMILIES, SETS } from './names.ts';

/** ipset counts timeouts in milliseconds of 32 bits. A lock that lasts longer is put in again before. */
const MAX_TIMEOUT_S = 2_147_483;

/** Lines for `ipset restore` that bring the sets to these locks; empty when they are as they shall be. Pure. */
export function lockChanges(locks: readonly Lock[], { sets }: KernelState, nowMs: number): string {
  const lines: string[] = [];
  for (const family of FAMILIES) {
    const name = SETS.locked(family);
    const has = sets.get(name);
    // not there at the moment: the next round finds it again
    if (!has) continue;
    const wanted = new Map<string, number>();
    for (const { subject, how, until } of locks) {
      const prefix = parsePrefix(subject);
      if (how !== 'kernel' || !prefix || (until !== undefined && until <= nowMs)) continue;
      const timeoutS = until === undefined ? 0 : Math.min(Math.ceil((until - nowMs) / 1000), MAX_TIMEOUT_S);
      for (const member of setMembers([prefix], family)) wanted.set(member, timeoutS);
    }
    const present = new Map([...has.members].map(([element, { timeoutS }]) => [withLength(element), timeoutS ?? 0]));
    for (const [member, timeoutS] of wanted) {
      const there = present.get(member);
      if (there === undefined || differs(there, timeoutS))
        lines.push(`add ${name} ${member} timeout ${timeoutS} -exist`);
    }
    for (const member of present.keys()) if (!wanted.has(member)) lines.push(`del ${name} ${member} -exist`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** An element's rest of time is read a little after it was set, in whole seconds. 0 is for ever. */
function differs(hasS: number, wantedS: number): boolean {
  return (hasS === 0) !== (wantedS === 0) || Math.abs(hasS - wantedS) > 2;
}
