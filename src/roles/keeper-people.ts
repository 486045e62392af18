/** What the keeper is asked about people and tokens. A change is written down before it is made: also one that then fails. */
import type { Config } from '../config/schema.ts';
import type { Question } from '../ledger/language.ts';
import type { Audit } from '../panel/audit.ts';
import { type People, PeopleError } from '../panel/people.ts';

export type AboutPeople = Extract<Question, { of: 'people' | 'user-add' | 'token-add' | 'person-remove' }>;

export async function aboutPeople(
  question: AboutPeople,
  people: People,
  audit: Audit,
  config: Config,
): Promise<unknown> {
  if (question.of === 'people') return people.list();
  const { of, name, who } = question;
  const tenant = of === 'person-remove' ? undefined : question.tenant;
  const bound = tenant === undefined ? '' : `, tenant ${tenant}`;
  const about = of === 'person-remove' ? name : `${name}, ${question.role}${bound}`;
  audit.write({ who, from: 'cli', what: of, about });
  if (tenant !== undefined && ![...config.network, ...config.subscriber].some((one) => one.tenant === tenant))
    throw new PeopleError(`no network and no subscriber has the tenant "${tenant}"`);
  if (of === 'person-remove') return people.remove(name);
  if (of === 'user-add') return people.addUser(name, question.role, question.password, tenant);
  return people.addToken(name, question.role, question.until, question.from, tenant);
}
