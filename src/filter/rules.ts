/**
 * The operator's own rules: patterns on the envelope, the header, the text, the files and the addresses of a message.
 *
 * Each condition is a pattern on a text of lines. Most are answered by a word that their pattern needs; what is left is
 * matched on the loop when it is little, and in a thread when it is not, for even linear time is long on a long text.
 */
import { folded, Pattern } from '../kit/pattern.ts';
import type { Config } from '../config/schema.ts';
import { contentReader } from './content.ts';
import type { Filter, Mail, MakeFilter, Seen } from './filter.ts';
import type { Attachment, Content } from './inspect.ts';
import { PLACES, type RulePlace, usesContent } from './rule-places.ts';

type Condition = { readonly place: RulePlace; readonly pattern: Pattern };
type Rule = Config['rule'][number] & { readonly conditions: readonly Condition[] };

/** Characters times instructions that are matched on the loop: 5 ms at the very worst, mostly a twentieth of that. */
const QUICK_COST = 60_000;
const MAX_HEADER = 64 * 1024;

/** Texts, each once, and which pattern is to be matched against which of them, in a thread. */
export type Matching = {
  readonly texts: Readonly<Partial<Record<RulePlace, string>>>;
  readonly matches: readonly { readonly source: string; readonly place: RulePlace }[];
};

export const rules = ((config, deps): Filter<'body'> | undefined => {
  if (config.rule.length === 0) return undefined;
  const all = config.rule.map(compiled);
  const byName = new Map(all.map((rule) => [rule.name, rule]));
  const read = usesContent(config) ? contentReader(config, deps) : undefined;
  const { failure, deadline } = config.filters.rules;

  const judge = (mail: Mail, content: Content | undefined, signal: () => AbortSignal) => {
    const texts = new Texts(mail, content);
    const open = all.filter(({ conditions }) => conditions.every((one) => texts.mayMatch(one)));
    if (open.length === 0) return NOTHING;
    let cost = 0;
    for (const { conditions } of open)
      for (const { place, pattern } of conditions) cost += texts.of(place).length * pattern.size;
    if (cost <= QUICK_COST) {
      return open
        .filter(({ conditions }) => conditions.every(({ place, pattern }) => pattern.test(texts.of(place))))
        .map((rule) => finding(rule));
    }
    const asked = open.flatMap(({ conditions }) => conditions);
    const matching: Matching = {
      texts: Object.fromEntries(asked.map(({ place }) => [place, texts.of(place)])),
      matches: asked.map(({ place, pattern }) => ({ source: pattern.source, place })),
    };
    return inThread(open, matching, signal());
  };

  const inThread = async (open: readonly Rule[], matching: Matching, signal: AbortSignal) => {
    const answers = (await deps.threads.run('match', () => ({ value: matching }), signal)) as readonly boolean[];
    let at = 0;
    return open
      .filter(({ conditions }) => {
        const own = answers.slice(at, (at += conditions.length));
        return own.every((answer) => answer);
      })
      .map((rule) => finding(rule));
  };

  return {
    name: 'rules',
    stage: 'body',
    ...(read && { needs: 'content' as const }),
    deadlineMs: deadline,
    look(mail, call) {
      const signal = (): AbortSignal => call.signal;
      const content = read?.(mail);
      return content instanceof Promise
        ? content.then((one) => judge(mail, one, signal))
        : judge(mail, content, signal);
    },
    actionOf: (_class, name) => byName.get(name)?.action ?? failure,
    failure,
  };
}) satisfies MakeFilter;

const NOTHING: readonly Seen[] = [];

/** In each text, beginnings and ends of lines count as such. */
function compiled(rule: Config['rule'][number]): Rule {
  const conditions = PLACES.flatMap((place): Condition[] => {
    const source = rule[place];
    if (source === undefined) return [];
    const pattern = Pattern.compile(source, { lines: true });
    if (!(pattern instanceof Pattern)) throw new Error(`rule ${rule.name}: ${pattern.fault}`);
    return [{ place, pattern }];
  });
  return { ...rule, conditions };
}

function finding(rule: Rule): Seen {
  const { name, score, conditions } = rule;
  return {
    filter: 'rules',
    name,
    score,
    evidence: conditions.map(({ place }) => place).join(', '),
    class: 'spam.rule',
  };
}

/** Each text made when it is first asked for. */
class Texts {
  readonly #mail: Mail;
  readonly #content: Content | undefined;
  readonly #made = new Map<RulePlace, string>();
  readonly #folded = new Map<RulePlace, string>();

  constructor(mail: Mail, content: Content | undefined) {
    this.#mail = mail;
    this.#content = content;
  }

  mayMatch({ place, pattern }: Condition): boolean {
    if (pattern.required === '') return true;
    let text = this.#folded.get(place);
    if (text === undefined) this.#folded.set(place, (text = folded(this.of(place))));
    return text.includes(pattern.required);
  }

  of(place: RulePlace): string {
    let text = this.#made.get(place);
    if (text === undefined) this.#made.set(place, (text = this.#make(place)));
    return text;
  }

  #make(place: RulePlace): string {
    const { sender, recipients, helo, message } = this.#mail;
    const { text = '', attachments = [], urls = [] } = this.#content ?? {};
    const lines: { readonly [Place in RulePlace]: () => string } = {
      sender: () => sender,
      recipient: () => recipients.join('\n'),
      helo: () => helo,
      header: () => headerOf(message.fields()),
      body: () => text,
      attachment: () => attachments.flatMap(namesOf).join('\n'),
      url: () => urls.join('\n'),
    };
    return lines[place]();
  }
}

function namesOf({ names, archive }: Attachment): string[] {
  return [...names, ...(archive?.entries.map(({ name }) => name) ?? [])];
}

function headerOf(fields: readonly { readonly name: string; readonly value: string }[]): string {
  let text = '';
  for (const { name, value } of fields) {
    text += `${name}: ${value}\n`;
    if (text.length > MAX_HEADER) return text.slice(0, MAX_HEADER);
  }
  return text;
}
