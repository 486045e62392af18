/** What a limit means for a host: nothing, a reply that comes later, or a refusal that says when to try again. */
import type { Taken } from '../ledger/client.ts';
import { limitClass, retryNote } from '../policy/limits.ts';
import type { Refusal } from '../smtp/session.ts';
import { isExcused } from './excused.ts';
import type { Rooms } from './rooms.ts';
import type { Work } from './work.ts';

/** The refusal when a limit is reached; undefined, after a while where the subscriber is to be slow, when it is not. */
export async function overLimit(rooms: Rooms, work: Work, taken: Taken): Promise<Refusal | undefined> {
  const { network } = work.origin;
  if (taken === 'ok') return undefined;
  if (taken === 'slow') {
    if (network.mode !== 'observe') await heldBack(rooms, network.slowBy);
    return undefined;
  }
  const refusal = limitRefusal(taken);
  if (isExcused(rooms, work, refusal.class)) return undefined;
  if (network.mode !== 'observe') return refusal;
  work.wouldBe ??= refusal.class;
  return undefined;
}

/** Why nothing more is taken, as it is said to the host. */
export function limitRefusal(taken: Exclude<Taken, 'ok' | 'slow'>): Refusal {
  if (taken === 'away') return { class: 'error.keeper' };
  return { class: limitClass[taken.over.rule.unit], note: retryNote(taken.retryMs) };
}

/** A reply that comes later costs memory, so only so many do at a time. */
async function heldBack(rooms: Rooms, ms: number): Promise<void> {
  if (rooms.heldBack >= rooms.config.limits.slowReplies) return;
  rooms.heldBack++;
  await new Promise((resolve) => setTimeout(resolve, ms));
  rooms.heldBack--;
}
