/** Texts for people with places to be filled in: `{reason}`. */
import { type Field, field, type Spec } from '../field.ts';

const MAX_LENGTH = 4000;
const PLACE = /\{([^{}\s]*)\}/g;

/** A text of several lines whose first is the subject; `names` are the places that it may have. */
export function template(names: readonly string[], spec: Spec): Field<string> {
  const type = `a text of at most ${MAX_LENGTH} characters, its first line the subject, with no other places to fill in than ${names.map((name) => `{${name}}`).join(' ')}`;
  return field(
    type,
    (raw) => {
      if (typeof raw !== 'string' || raw.length > MAX_LENGTH || !/^[^\p{C}\p{Zl}\p{Zp}]{1,200}(?:\r?\n|$)/u.test(raw))
        return { expected: type };
      if (/[^\P{C}\r\n\t]/u.test(raw)) return { expected: type };
      const unknown = [...raw.matchAll(PLACE)].map(([, name = '']) => name).find((name) => !names.includes(name));
      return unknown === undefined ? { value: raw } : { expected: `${type}; there is no {${unknown}}` };
    },
    spec,
  );
}
