/**
 * The building blocks of the schema: a field says its type, default, doc and check in one place; everything else
 * (the effective configuration, the commented example, docs/config.md, the error texts) is derived from it.
 * What may stand in one, by its kind, is in value/.
 */

/** What a parser says of a value: the value, or what was expected instead. */
export type Parsed<T> = { readonly value: T } | { readonly expected: string };

export type Field<T> = {
  readonly kind: 'field';
  /** what may stand here, for docs and errors: `a duration such as "30s"` */
  readonly type: string;
  readonly doc: string;
  readonly parse: (raw: unknown) => Parsed<T>;
  /** the default as it would stand in the file; undefined when the key is required or optional */
  readonly fallback: unknown;
  readonly required: boolean;
  /** shown in the example file when there is no default */
  readonly example: unknown;
  /** of a list: the field of each element, so that every bad element is reported and not the first alone */
  readonly item?: Field<unknown>;
  /** the value as it would stand in the file, where that is another than itself */
  write?(value: T): unknown;
};

export type Table<F extends Fields = Fields> = {
  readonly kind: 'table';
  readonly doc: string;
  readonly fields: F;
};

export type List<F extends Fields = Fields> = {
  readonly kind: 'list';
  readonly doc: string;
  readonly fields: F;
  /** there need be none */
  readonly mayBeEmpty: boolean;
};

// biome-ignore lint: the value's type is carried by inference
export type Fields = { readonly [key: string]: Field<any> | Table | List };

export type Camel<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : K;

/** The effective configuration's type, keys in camelCase. */
export type Infer<F extends Fields> = {
  readonly [K in keyof F & string as Camel<K>]: F[K] extends Field<infer T>
    ? T
    : F[K] extends Table<infer G>
      ? Infer<G>
      : F[K] extends List<infer G>
        ? readonly Infer<G>[]
        : never;
};

export function camel(key: string): string {
  return key.replace(/[_-](\w)/g, (_, c: string) => c.toUpperCase());
}

export type Spec = { doc: string; default?: unknown; example?: unknown };

export function field<T>(type: string, parse: (raw: unknown) => Parsed<T>, spec: Spec): Field<T> {
  return {
    kind: 'field',
    type,
    parse,
    doc: spec.doc,
    fallback: spec.default,
    required: spec.default === undefined,
    example: spec.example ?? spec.default,
  };
}

/** The same field, but it may be left out: its value is then undefined. */
export function optional<T>(of: Field<T>): Field<T | undefined> {
  return { ...of, required: false };
}

export function table<F extends Fields>(doc: string, fields: F): Table<F> {
  return { kind: 'table', doc, fields };
}

export function list<F extends Fields>(doc: string, fields: F, { mayBeEmpty = false } = {}): List<F> {
  return { kind: 'list', doc, fields, mayBeEmpty };
}

/** The settings of a table as another has them that inherits: none has a default, what is left out is undefined. */
export type Inherited<F extends Fields, Own extends string> = {
  readonly [K in Exclude<keyof F & string, Own>]: F[K] extends Field<infer T> ? Field<T | undefined> : never;
};

/** All fields but the table's `own`. */
export function inherited<F extends Fields, const Own extends string>(
  fields: F,
  own: readonly Own[],
): Inherited<F, Own> {
  const shared = Object.entries(fields).filter(
    (entry): entry is [string, Field<unknown>] => entry[1].kind === 'field' && !own.includes(entry[0] as Own),
  );
  return Object.fromEntries(
    shared.map(([key, of]) => [key, { ...of, required: false, fallback: undefined }]),
  ) as unknown as Inherited<F, Own>;
}

/** A list of values of one field's type; each value is checked by itself. */
export function listOf<T>(item: (spec: Spec) => Field<T>, spec: Spec & { min?: number }): Field<readonly T[]> {
  const one = item({ doc: '' });
  const type = spec.min ? `a list of at least ${spec.min}, each ${one.type}` : `a list, each ${one.type}`;
  const parse = (raw: unknown): Parsed<readonly T[]> => {
    if (!Array.isArray(raw) || raw.length < (spec.min ?? 0)) return { expected: type };
    const values: T[] = [];
    for (const element of raw) {
      const parsed = one.parse(element);
      if ('expected' in parsed) return { expected: type };
      values.push(parsed.value);
    }
    return { value: values };
  };
  return {
    ...field(type, parse, spec),
    item: one,
    ...(one.write && { write: (values) => values.map((v) => one.write?.(v)) }),
  };
}
