/** Fields that must stand once in a header (RFC 5322 section 3.6). */
import { camel } from '../config/field.ts';
import type { Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import type { Filter, Seen } from './filter.ts';

const ONCE = ['from', 'date'] as const;

export const header: Filter = {
  name: 'header',
  look(message) {
    const seen: Seen[] = [];
    for (const name of ONCE) {
      let count = 0;
      for (const field of message.fields()) if (field.name === name) count++;
      if (count === 1) continue;
      const fault = count === 0 ? 'missing' : 'duplicate';
      seen.push({
        filter: 'header',
        name: `${name}-${fault}`,
        score: 1,
        evidence: `${count} ${name} fields`,
        class: `header.${name}-${fault}`,
      });
    }
    return seen;
  },
  actionOf: (class_, filters) => filters.header[keyOf(class_)],
  failure: (filters) => filters.header.failure,
};

/** header.from-missing -> missingFrom */
function keyOf(class_: Class): keyof Config['filters']['header'] {
  const [name = '', fault = ''] = class_.slice('header.'.length).split('-');
  return camel(`${fault}_${name}`) as keyof Config['filters']['header'];
}
