/** Who is not refused for what, and until when: by source, destination and identity. Pure. */
import { contains, parseAddress, type Prefix } from '../kit/address.ts';
import type { Class } from './classes.ts';

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
