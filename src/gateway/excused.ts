/** Whether an exception of the configuration stands against a refusal: asked only where something would be refused. */
import type { Class } from '../policy/classes.ts';
import type { Decision } from '../policy/decide.ts';
import { exceptionFor } from '../policy/exceptions.ts';
import type { Rooms } from './rooms.ts';
import type { Work } from './work.ts';

type Who = { readonly origin: Pick<Work['origin'], 'arrival'>; readonly identity: string | undefined };

export function isExcused({ config, clock }: Rooms, { origin: { arrival }, identity }: Who, of: Class): boolean {
  if (config.exception.length === 0) return false;
  const { source, destination } = arrival;
  return exceptionFor(config.exception, of, { source, destination, identity }, clock.nowMs()) !== undefined;
}

/** Whether this decision refuses; in mode "observe" what it would have been is noted. */
export function refuses(rooms: Rooms, work: Work, { verdict, wouldBe }: Decision): boolean {
  const of = wouldBe ?? (verdict.kind === 'accept' ? undefined : verdict.class);
  if (of === undefined || isExcused(rooms, work, of)) return false;
  work.wouldBe ??= wouldBe;
  return verdict.kind !== 'accept';
}
