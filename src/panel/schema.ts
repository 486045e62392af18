/** What may be in a query or a body: the part of JSON Schema that the API needs, which its document shows as it stands. */
import { Refusal } from './refusal.ts';

export type Schema = { readonly description: string } & (
  | {
      readonly type: 'string';
      readonly minLength?: number;
      readonly maxLength: number;
      readonly enum?: readonly string[];
      readonly default?: string;
    }
  | { readonly type: 'integer'; readonly minimum: number; readonly maximum?: number; readonly default?: number }
);

export type Schemas = Readonly<Record<string, Schema>>;
export type Values = Readonly<Record<string, string | number>>;

/** The values with their defaults; throws a Refusal that names the field. Numbers of a query come as text. */
export function valuesOf(given: unknown, schemas: Schemas, required: readonly string[] = []): Values {
  if (given === undefined) return valuesOf({}, schemas, required);
  if (given === null || typeof given !== 'object' || Array.isArray(given))
    throw new Refusal(400, 'an object is expected');
  const values: Record<string, string | number> = {};
  for (const name of Object.keys(given))
    if (!Object.hasOwn(schemas, name))
      throw new Refusal(400, `"${name}" is not known here; there are ${Object.keys(schemas).join(', ')}`, {
        field: name,
      });
  for (const [name, schema] of Object.entries(schemas)) {
    const raw = (given as Readonly<Record<string, unknown>>)[name];
    if (raw === undefined) {
      if (required.includes(name))
        throw new Refusal(400, `"${name}" is missing: ${schema.description}`, { field: name });
      if (schema.default !== undefined) values[name] = schema.default;
    } else values[name] = valueOf(name, raw, schema);
  }
  return values;
}

function valueOf(name: string, raw: unknown, schema: Schema): string | number {
  const wrong = (expected: string): Refusal => new Refusal(400, `"${name}" is ${expected}`, { field: name });
  if (schema.type === 'integer') {
    const { minimum, maximum = Number.MAX_SAFE_INTEGER } = schema;
    const value = typeof raw === 'string' && /^\d{1,16}$/.test(raw) ? Number(raw) : raw;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum)
      throw wrong(`a whole number from ${minimum} to ${maximum}`);
    return value;
  }
  const { minLength = 0, maxLength } = schema;
  if (typeof raw !== 'string') throw wrong('a string');
  if (schema.enum && !schema.enum.includes(raw)) throw wrong(`one of ${schema.enum.join(', ')}`);
  if (raw.length < minLength || raw.length > maxLength) throw wrong(`of ${minLength} to ${maxLength} characters`);
  return raw;
}
