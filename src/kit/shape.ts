/**
 * What a value from another process must look like: every string, list and map has a bound, unknown keys are refused.
 *
 * A shape is a type guard, so that what has been checked needs no copy and no cast.
 */
export type Shape<T> = (raw: unknown) => raw is T;

/** A string of at most `max` UTF-16 units. */
export function text(max: number): Shape<string> {
  return (raw): raw is string => typeof raw === 'string' && raw.length <= max;
}

/** A finite number not below zero, whole or not. */
export const amount: Shape<number> = (raw): raw is number =>
  typeof raw === 'number' && raw >= 0 && raw <= Number.MAX_SAFE_INTEGER;

/** A whole number from `min` to `max`. */
export function whole(min = 0, max: number = Number.MAX_SAFE_INTEGER): Shape<number> {
  return (raw): raw is number => Number.isSafeInteger(raw) && (raw as number) >= min && (raw as number) <= max;
}

export const yesNo: Shape<boolean> = (raw): raw is boolean => typeof raw === 'boolean';

export function oneOf<const T extends string | number | boolean>(...values: readonly T[]): Shape<T> {
  return (raw): raw is T => values.includes(raw as T);
}

export function listOf<T>(item: Shape<T>, max: number): Shape<readonly T[]> {
  return (raw): raw is readonly T[] => Array.isArray(raw) && raw.length <= max && raw.every((one) => item(one));
}

/** A map with at most `max` keys, each a string of at most 255 units. */
export function mapOf<T>(item: Shape<T>, max: number): Shape<Readonly<Record<string, T>>> {
  return (raw): raw is Readonly<Record<string, T>> => {
    if (!isObject(raw)) return false;
    const entries = Object.entries(raw);
    return entries.length <= max && entries.every(([key, value]) => key.length <= 255 && item(value));
  };
}

/** The key may be missing; JSON leaves out what is undefined. */
export function maybe<T>(of: Shape<T>): Shape<T | undefined> {
  return (raw): raw is T | undefined => raw === undefined || of(raw);
}

/** Exactly these keys. */
export function object<T>(keys: { readonly [K in keyof T]-?: Shape<T[K]> }): Shape<T> {
  const names = Object.keys(keys);
  const shapes = Object.values<Shape<unknown>>(keys);
  const hasOthers = (raw: object): boolean => {
    for (const key in raw) if (!Object.hasOwn(keys, key)) return true;
    return false;
  };
  return (raw): raw is T => {
    if (!isObject(raw)) return false;
    let present = 0;
    for (let i = 0; i < names.length; i++) {
      const value = raw[names[i] as string];
      if (!(shapes[i] as Shape<unknown>)(value)) return false;
      if (value !== undefined) present++;
    }
    // As many as are known: there is no other, and none has to be looked up.
    let all = 0;
    for (const _ in raw) all++;
    return all === present || !hasOthers(raw);
  };
}

/** One of several objects, told apart by the value of one of their keys. */
export function union<T>(tag: string, shapes: Readonly<Record<string, Shape<T>>>): Shape<T> {
  return (raw): raw is T => {
    if (!isObject(raw)) return false;
    const kind = raw[tag];
    return typeof kind === 'string' && Object.hasOwn(shapes, kind) && (shapes[kind] as Shape<T>)(raw);
  };
}

function isObject(raw: unknown): raw is Record<string, unknown> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw);
}
