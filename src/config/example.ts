/** A commented configuration file made from the schema: what must be set stands there, what has a default in comments. */
import type { Field } from './field.ts';
import { schema } from './schema.ts';
import { comment, sections, tomlValue } from './toml.ts';

export function exampleToml(): string {
  const head = [
    comment(schema.doc),
    '#',
    comment(
      'What stands without "#" must be set; its values are examples. What stands behind "#" shows the default, or an example of what may be left out.',
    ),
    comment('Try a change with: postern check --config FILE. Units: ms s m h d; B KiB MiB GiB.'),
  ].join('\n');
  const blocks = sections(schema.fields).map(({ header, doc, isList, mayBeEmpty, fields }) => {
    const repeat = isList ? ` Repeat ${header} for each.` : '';
    const keys = fields.map(([key, field]) => {
      const setting = `${key} = ${tomlValue(field.example)}`;
      const kind = field.required || field.fallback === field.example ? '' : ` ${defaultOf(field)}`;
      return `${comment(`${field.doc}${kind}`)}\n${field.required && !mayBeEmpty ? setting : setting.replaceAll(/^/gm, '#')}`;
    });
    return [`${comment(doc + repeat)}\n${mayBeEmpty ? '#' : ''}${header}`, ...keys].join('\n\n');
  });
  return `${[head, ...blocks].join('\n\n\n')}\n`;
}

/** What holds when the key is left out, where the line below shows something else. */
function defaultOf({ fallback }: Field<unknown>): string {
  return fallback === undefined ? 'Not set by default.' : `Default: ${tomlValue(fallback)}`;
}
