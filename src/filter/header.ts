/** Fields that must stand once in a header (RFC 5322 section 3.6). */
import type { Config } from '../config/schema.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';

const ONCE = ['from', 'date'] as const;
/** How much each speaks for abuse: many devices send no Date. */
const SCORES = { 'from-missing': 0.3, 'from-duplicate': 0.5, 'date-missing': 0.1, 'date-duplicate': 0.3 } as const;
const ACTIONS: Readonly<Record<string, keyof Config['filters']['header']>> = {
  'header.from-missing': 'missingFrom',
  'header.from-duplicate': 'duplicateFrom',
  'header.date-missing': 'missingDate',
  'header.date-duplicate': 'duplicateDate',
};

export const header = (({ filters: { header: config } }): Filter<'body'> => ({
  name: 'header',
  stage: 'body',
  look({ message }) {
    const seen: Seen[] = [];
    for (const name of ONCE) {
      let count = 0;
      for (const field of message.fields()) if (field.name === name) count++;
      if (count === 1) continue;
      const fault = `${name}-${count === 0 ? 'missing' : 'duplicate'}` as const;
      seen.push({
        filter: 'header',
        name: fault,
        score: SCORES[fault],
        evidence: `${count} ${name} fields`,
        class: `header.${fault}`,
      });
    }
    return seen;
  },
  actionOf: (class_) => config[ACTIONS[class_] as keyof typeof config],
  failure: config.failure,
})) satisfies MakeFilter;
