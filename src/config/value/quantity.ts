/** Numbers with a unit in one text: durations, sizes, rates, and so much in a period. */
import { type Field, field, listOf, type Parsed, type Spec } from '../field.ts';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `30s`, `5m`, `32d` in milliseconds; undefined when it is none. */
export function parseDurationMs(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,9})(ms|s|m|h|d)$/.exec(raw) : null;
  return match ? Number(match[1]) * (UNIT_MS[match[2] as string] as number) : undefined;
}

/** `256KiB`, `50MiB` in bytes; undefined when it is none. */
export function parseSizeBytes(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(raw) : null;
  return match ? Number(match[1]) * (UNIT_BYTES[match[2] as string] as number) : undefined;
}

/** A duration, in milliseconds once parsed. */
export function durationMs(spec: Spec & { min?: string; max: string }): Field<number> {
  const of = quantity('a duration such as "500ms", "30s", "5m", "2h"', parseDurationMs, { min: '0s', ...spec });
  return { ...of, write: durationText };
}

/** In the largest unit that has no fraction. */
function durationText(ms: number): string {
  const [unit, size] = Object.entries(UNIT_MS).findLast(([, one]) => ms % one === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** A size, in bytes once parsed. */
export function sizeBytes(spec: Spec & { min?: string; max: string }): Field<number> {
  return quantity('a size such as "500B", "256KiB", "50MiB"', parseSizeBytes, { min: '1B', ...spec });
}

/** A number with its unit in one text, between bounds that are written the same way. */
function quantity(
  kind: string,
  parse: (raw: unknown) => number | undefined,
  spec: Spec & { min: string; max: string },
): Field<number> {
  const type = `${kind}; from ${spec.min} to ${spec.max}`;
  const low = parse(spec.min) ?? Number.NaN;
  const high = parse(spec.max) ?? Number.NaN;
  return field(
    type,
    (raw) => {
      const value = parse(raw);
      return value !== undefined && value >= low && value <= high ? { value } : { expected: type };
    },
    spec,
  );
}

/** Events per time, `"50/s"`, `"600/m"`; per second once parsed. */
export function perSecond(spec: Spec): Field<number> {
  const type = 'a rate such as "50/s", "600/m"; from "1/m" to "10000/s"';
  return field(
    type,
    (raw) => {
      const match = typeof raw === 'string' ? /^(\d{1,6})\/(s|m)$/.exec(raw) : null;
      const value = Number(match?.[1] ?? 0) / (match?.[2] === 'm' ? 60 : 1);
      return value > 0 && value <= 10_000 ? { value } : { expected: type };
    },
    spec,
  );
}

/** So much in a period of time. */
export type Limit = {
  readonly count: number;
  readonly period: 'minute' | 'hour' | 'day' | 'week' | 'month';
  /** as it was written: `30/hour` */
  readonly text: string;
};

const LIMIT_TYPE = 'then "/minute", "/hour", "/day", "/week" or "/month"';

/** A count in a period, `"30/hour"`. */
export function limit(spec: Spec): Field<Limit> {
  return limitOf(`a limit such as "30/hour": a number up to 1000000000, ${LIMIT_TYPE}`, spec, (text) =>
    /^\d{1,10}$/.test(text) && Number(text) <= 1_000_000_000 ? Number(text) : undefined,
  );
}

/** A size in a period, `"1GiB/day"`. */
export function sizeLimit(spec: Spec): Field<Limit> {
  return limitOf(`a limit such as "1GiB/day": a size up to "100000GiB", ${LIMIT_TYPE}`, spec, (text) => {
    const bytes = parseSizeBytes(text);
    return bytes !== undefined && bytes <= 100_000 * 1024 ** 3 ? bytes : undefined;
  });
}

function limitOf(type: string, spec: Spec, countOf: (text: string) => number | undefined): Field<Limit> {
  const parse = (raw: unknown): Parsed<Limit> => {
    const match = typeof raw === 'string' ? /^(\w+)\/(minute|hour|day|week|month)$/.exec(raw) : null;
    const count = countOf(match?.[1] ?? '');
    return match && count !== undefined
      ? { value: { count, period: match[2] as Limit['period'], text: match[0] } }
      : { expected: type };
  };
  return { ...field(type, parse, spec), write: ({ text }) => text };
}

/** Limits of one thing, each for a period of its own: of two for the same the smaller counts. */
export function limits(of: typeof limit, spec: Spec): Field<readonly Limit[]> {
  return listOf(of, { default: [], ...spec });
}
