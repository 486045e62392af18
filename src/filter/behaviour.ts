/** How the subscriber has behaved of late, whatever this message says: asked of the keeper, which sees every attempt. */
import type { BehaviourAnswer } from '../ledger/inquiry.ts';
import type { Class } from '../policy/classes.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';

export const behaviour = ((config, deps): Filter<'envelope'> | undefined => {
  const { behaviour: own } = config.filters;
  if (!own.enabled) return undefined;
  const judge = (answer: BehaviourAnswer, isEarly: boolean): readonly Seen[] => {
    const { helos, senderDomains, recipients, asked, unknown, isFirst } = answer;
    const seen: Seen[] = [];
    const see = (name: Sub, score: number, evidence: string): void => void seen.push(finding(name, score, evidence));
    if (isEarly) see('early', 0.5, 'it spoke before the banner');
    if (helos >= own.maxHelos) see('helo', 0.4, `${helos} names in HELO`);
    if (senderDomains >= own.maxSenderDomains) see('senders', 0.4, `${senderDomains} sender domains`);
    if (recipients >= own.maxRecipients) see('recipients', 0.3, `${recipients} recipients`);
    if (asked >= own.minAsked && unknown * 100 >= asked * own.maxUnknown)
      see('unknown', 0.6, `${unknown} of ${asked} recipients unknown to the far side`);
    if (isFirst) see('first', 0.1, 'the first mail from here');
    return seen;
  };
  return {
    name: 'behaviour',
    stage: 'envelope',
    async look({ subscriber, helo, isEarly }) {
      const answer = await deps.inquire({ of: 'behaviour', subscriber, helo: helo.slice(0, 1000) });
      return answer.of === 'behaviour' ? judge(answer, isEarly) : [];
    },
    actionOf: (class_) => own[class_.slice('behaviour.'.length) as Sub],
    failure: own.failure,
  };
}) satisfies MakeFilter;

type Sub = 'early' | 'helo' | 'senders' | 'recipients' | 'unknown' | 'first';

function finding(name: Sub, score: number, evidence: string): Seen {
  const class_: Class = `behaviour.${name}`;
  return { filter: 'behaviour', name, score, evidence, class: class_ };
}
