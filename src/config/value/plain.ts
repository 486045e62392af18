/** Texts, choices, numbers, patterns and paths. */
import { Pattern } from '../../kit/pattern.ts';
import { type Field, field, type Spec } from '../field.ts';

// Without controls and the format characters that turn text around: values are printed, logged and sent in SMTP.
const PLAIN = /^[^\p{C}\p{Zl}\p{Zp}]{1,256}$/u;

/** A text in quotes; without a pattern, 1 to 256 characters none of which is a control. */
export function text(spec: Spec & { pattern?: RegExp; type?: string }): Field<string> {
  const type = spec.type ?? 'a text of 1 to 256 characters without controls';
  const pattern = spec.pattern ?? PLAIN;
  return field(
    type,
    (raw) => (typeof raw === 'string' && pattern.test(raw) ? { value: raw } : { expected: type }),
    spec,
  );
}

export function choice<const T extends string>(values: readonly T[], spec: Spec): Field<T> {
  const type = `one of ${values.map((v) => `"${v}"`).join(', ')}`;
  return field(type, (raw) => (values.includes(raw as T) ? { value: raw as T } : { expected: type }), spec);
}

export function integer(spec: Spec & { min: number; max: number }): Field<number> {
  const type = `a whole number from ${spec.min} to ${spec.max}`;
  return field(type, (raw) => (isCount(raw, spec.min, spec.max) ? { value: raw } : { expected: type }), spec);
}

/** A number above 0, whole or not. */
export function decimal(spec: Spec & { max: number }): Field<number> {
  const type = `a number above 0, at most ${spec.max}`;
  return field(
    type,
    (raw) => (typeof raw === 'number' && raw > 0 && raw <= spec.max ? { value: raw } : { expected: type }),
    spec,
  );
}

export function boolean(spec: Spec): Field<boolean> {
  return field(
    'true or false',
    (raw) => (typeof raw === 'boolean' ? { value: raw } : { expected: 'true or false' }),
    spec,
  );
}

/** `"auto"` or a number; the loader turns "auto" into the machine's number of processors. */
export function countOrAuto(spec: Spec & { max: number }): Field<number | 'auto'> {
  const type = `"auto" or a whole number from 1 to ${spec.max}`;
  return field<number | 'auto'>(
    type,
    (raw) => (raw === 'auto' || isCount(raw, 1, spec.max) ? { value: raw } : { expected: type }),
    spec,
  );
}

/** TOML integers beyond 2^53 arrive as bigint and are out of every range here. */
function isCount(raw: unknown, min: number, max: number): raw is number {
  return typeof raw === 'number' && Number.isInteger(raw) && raw >= min && raw <= max;
}

/** A pattern in RE2's syntax, which can be matched in linear time (kit/pattern.ts). */
export function pattern(spec: Spec): Field<string> {
  const type = 'a pattern in RE2 syntax (no look-around, no back references), at most 1000 characters';
  return field(
    type,
    (raw) => {
      const compiled = typeof raw === 'string' && raw !== '' ? Pattern.compile(raw) : undefined;
      if (compiled instanceof Pattern) return { value: compiled.source };
      return { expected: compiled ? `${type}: ${compiled.fault}` : type };
    },
    spec,
  );
}

export function path(spec: Spec): Field<string> {
  return text({ ...spec, pattern: /^\/[^\p{C}\p{Zl}\p{Zp}]{0,4000}$/u, type: 'an absolute path' });
}
