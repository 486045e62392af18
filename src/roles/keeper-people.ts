/** What the keeper is asked about people and tokens; every change is written down. */
import type { Question } from '../ledger/language.ts';
import type { Audit } from '../panel/audit.ts';
import type { People } from '../panel/people.ts';

export type AboutPeople = Extract<Question, { of: 'people' | 'user-add' | 'token-add' | 'person-remove' }>;

export async function aboutPeople(question: AboutPeople, people: People, audit: Audit): Promise<unknown> {
  if (question.of === 'people') return people.list();
  const { name, who } = question;
  const note = (what: string, role: string): void => audit.write({ who, from: 'cli', what, about: `${name}, ${role}` });
  if (question.of === 'user-add') {
    const person = await people.addUser(name, question.role, question.password);
    note('user added', person.role);
    return person;
  }
  if (question.of === 'token-add') {
    const added = people.addToken(name, question.role, question.until, question.from);
    note('token added', added.person.role);
    return added;
  }
  const person = people.remove(name);
  note(`${person.kind} removed`, person.role);
  return person;
}
