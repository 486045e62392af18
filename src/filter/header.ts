/** Fields that stand at most once in a header, two of which must be there (RFC 5322 section 3.6), and what Date says. */
import type { Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';

const REQUIRED = ['from', 'date'] as const;
const OTHERS = ['subject', 'to', 'cc', 'bcc', 'reply-to', 'sender', 'message-id', 'in-reply-to', 'references'];
const ONCE: readonly string[] = [...REQUIRED, ...OTHERS];
const PLACES: ReadonlyMap<string, number> = new Map(ONCE.map((name, place) => [name, place]));

/** What each finding is called, how much it speaks for abuse (many devices send no Date), and its key in the configuration. */
const KINDS = {
  'from-missing': { score: 0.3, key: 'missingFrom' },
  'from-duplicate': { score: 0.5, key: 'duplicateFrom' },
  'date-missing': { score: 0.1, key: 'missingDate' },
  'date-duplicate': { score: 0.3, key: 'duplicateDate' },
  'date-far': { score: 0.2, key: 'farDate' },
  duplicate: { score: 0.1, key: 'duplicateOther' },
} as const satisfies Readonly<Record<string, { score: number; key: keyof Config['filters']['header'] }>>;
type Kind = keyof typeof KINDS;

/** How often each field of ONCE stands in the message that is looked at. */
const counts = new Uint32Array(ONCE.length);

export const header = (({ filters: { header: config } }, { clock }): Filter<'body'> => ({
  name: 'header',
  stage: 'body',
  look({ message }) {
    const seen: Seen[] = [];
    counts.fill(0);
    let date = '';
    for (const { name, value } of message.fields()) {
      const place = PLACES.get(name);
      if (place === undefined) continue;
      counts[place] = (counts[place] as number) + 1;
      if (name === 'date') date = value;
    }
    for (let place = 0; place < ONCE.length; place++) {
      const count = counts[place] as number;
      const isRequired = place < REQUIRED.length;
      if (count === 1 || (count === 0 && !isRequired)) continue;
      const fault = count === 0 ? 'missing' : 'duplicate';
      const kind = isRequired ? (`${REQUIRED[place] as 'from'}-${fault}` as const) : 'duplicate';
      seen.push(finding(kind, `${count} ${ONCE[place]} fields`));
    }
    if (config.dateOff !== undefined) {
      const offMs = Math.abs(Date.parse(date) - clock.nowMs());
      if (offMs > config.dateOff) seen.push(finding('date-far', date.slice(0, 100)));
    }
    return seen;
  },
  actionOf: (class_) => config[KINDS[class_.slice('header.'.length) as Kind].key],
  failure: config.failure,
})) satisfies MakeFilter;

function finding(kind: Kind, evidence: string): Seen {
  const of: Class = `header.${kind}`;
  return { filter: 'header', name: kind, score: KINDS[kind].score, evidence, class: of };
}
