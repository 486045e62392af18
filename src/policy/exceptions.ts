/** Who is not refused for what, and until when: by source, destination and identity. Pure. */
import { contains, parseAddress, type Prefix } from '../kit/address.ts';
import { classes, type Class } from './classes.ts';
import { limitClass } from './limits.ts';

export type Exception = {
  /** `main.sub`, or `main` for all of its classes */
  readonly classes: readonly string[];
  /** of each list one must fit; an empty one fits all */
  readonly sources: readonly Prefix[];
  readonly destinations: readonly Prefix[];
  readonly identities: readonly string[];
  /** milliseconds since 1970; undefined is without end */
  readonly until: number | undefined;
};

export type Excused = {
  readonly source: string;
  readonly destination: string;
  /** undefined while it is not known */
  readonly identity: string | undefined;
};

/** The exception that holds, if one does. */
export function exceptionFor<E extends Exception>(
  exceptions: readonly E[],
  of: Class,
  { source, destination, identity }: Excused,
  nowMs: number,
): E | undefined {
  return exceptions.find(
    (one) =>
      (one.until === undefined || nowMs < one.until) &&
      one.classes.some((each) => of === each || of.startsWith(`${each}.`)) &&
      (one.identities.length === 0 || (identity !== undefined && one.identities.includes(identity))) &&
      isIn(one.sources, source) &&
      isIn(one.destinations, destination),
  );
}

function isIn(prefixes: readonly Prefix[], text: string): boolean {
  if (prefixes.length === 0) return true;
  const address = parseAddress(text);
  return address !== undefined && prefixes.some((prefix) => contains(prefix, address));
}

/** What filters find in a message. */
const FOUND = /^(?:header|spam|auth|content|attachment|virus)\./;
const EARLIER = /^(?:locked|sender|behaviour)\./;
const SINGLE: ReadonlySet<Class> = new Set<Class>([
  ...Object.values(limitClass),
  ...(['limit.connections', 'limit.session', 'error.keeper', 'error.filter'] as const),
  ...(['tls.required', 'tls.alone', 'tls.verifying'] as const),
]);
/** Decided before anything is known of the message, and so of who it is from. */
const UNKNOWN_YET: ReadonlySet<Class> = new Set<Class>([
  ...(['limit.connections', 'limit.connection-rate', 'limit.session', 'limit.opaque'] as const),
  ...(['tls.required', 'tls.alone', 'tls.verifying'] as const),
]);

/**
 * Whether an exception means anything for `main.sub`, or `main`: not for what cannot be carried, for what there is no room
 * for, nor for what the kernel or the far side says. Of identities: only for what is decided when the message is there.
 */
export function isExcusable(of: string, isOfIdentities: boolean): boolean {
  return (Object.keys(classes) as Class[]).some(
    (each) => (each === of || each.startsWith(`${of}.`)) && (isOfIdentities ? isLate(each) : isDecided(each)),
  );
}

function isDecided(of: Class): boolean {
  return FOUND.test(of) || EARLIER.test(of) || SINGLE.has(of);
}

function isLate(of: Class): boolean {
  return of === 'locked.identity' || FOUND.test(of) || (SINGLE.has(of) && !UNKNOWN_YET.has(of));
}
