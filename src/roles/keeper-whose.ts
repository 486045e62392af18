/** What holds for an address now, from all that the keeper keeps: for `postern explain ADDRESS`. */
import { canonical } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Locks } from '../ledger/locks.ts';
import { lockTable } from '../ledger/locktable.ts';
import type { Whose } from '../ledger/language.ts';
import type { Quotas } from '../ledger/quotas.ts';
import { StepTable } from '../ledger/steptable.ts';
import type { KeeperSteps } from './keeper-steps.ts';

export type WhoseDeps = {
  readonly clock: Clock;
  readonly steps: Pick<KeeperSteps, 'steps' | 'whoIs'>;
  readonly locks: Locks;
  readonly quotas: Quotas;
};

/** Throws an error for who asked when it is no address, or in no network. */
export function whose(given: string, { clock, steps, locks, quotas }: WhoseDeps): Whose {
  const address = canonical(given);
  if (address === undefined) throw new Error(`"${given}" is no address`);
  const { sender, subject } = steps.whoIs(address);
  const { network, subscriber } = sender;
  const nowMs = clock.nowMs();
  const step = new StepTable(steps.steps.list()).of(
    { subject, network: network.name, hasOwnMode: subscriber?.mode !== undefined },
    nowMs,
  );
  const lock = lockTable(locks.list()).find(address, nowMs, { subject, tenant: network.tenant });
  const quota = network.quota === 'earned' ? quotas.of(subject, nowMs) : undefined;
  return {
    subject,
    network: network.name,
    mode: step?.mode ?? network.mode,
    ...(step && { step }),
    ...(lock && { lock }),
    ...(quota && { quota }),
  };
}
