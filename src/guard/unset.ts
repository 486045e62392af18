/**
 * What the kernel shall hold while there is no configuration: nobody's packets to port 25 are forwarded, all others are.
 * Which side is inside is not known yet, so it holds for both. The names are those of plan.ts: what is configured later
 * takes the place of each part in one step.
 */
import { apply } from './apply.ts';
import type { DesiredState, FamilyState } from './desired.ts';
import { CHAIN_PREFIX, PREFERENCE } from './names.ts';
import { readKernel } from './read.ts';
import { removal } from './remove.ts';
import { Spelling } from './spelling.ts';

const FAMILY: FamilyState = {
  tables: [
    {
      name: 'filter',
      jumps: [{ from: 'FORWARD', rules: [`-p tcp -m tcp --dport 25 -j ${CHAIN_PREFIX}FORWARD`] }],
      chains: [
        {
          name: `${CHAIN_PREFIX}FORWARD`,
          about: 'there is no configuration yet',
          rules: ['-p tcp -j REJECT --reject-with tcp-reset'],
        },
      ],
    },
  ],
  // Outside of all tables, as the fence of a configuration: it holds when every table has been flushed.
  rules: [
    `pref ${PREFERENCE.local} iif lo goto ${PREFERENCE.end}`,
    `pref ${PREFERENCE.fence} ipproto tcp dport 25 prohibit`,
    `pref ${PREFERENCE.end} nop`,
  ],
  routes: [],
};

const unset: DesiredState = {
  sysctls: [],
  families: { 4: FAMILY, 6: FAMILY },
  sets: [],
  forwarding: [
    { key: 'net/ipv4/ip_forward', value: '1' },
    { key: 'net/ipv6/conf/all/forwarding', value: '1' },
  ],
};

/** Where anything of ours stands already it is left alone: it protects, and may be a configuration's. */
export async function applyUnset(): Promise<void> {
  const kernel = await readKernel();
  if (removal(kernel).length === 0) await apply(unset, kernel, new Spelling());
}
