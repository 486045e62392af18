/** What the keeper is asked, by the commands and by the panel, and who knows the answer. */
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Desk, Held } from '../ledger/desk.ts';
import type { Question, Status, Who } from '../ledger/language.ts';
import type { LockHistory } from '../ledger/lockhistory.ts';
import type { Locks } from '../ledger/locks.ts';
import type { Quotas } from '../ledger/quotas.ts';
import type { StepHistory, Steps } from '../ledger/steps.ts';
import type { Verifying } from '../ledger/verifying.ts';
import type { Audit } from '../panel/audit.ts';
import type { People } from '../panel/people.ts';
import type { Journal } from '../record/journal.ts';
import type { Privacy } from '../record/privacy.ts';
import type { LogFilter } from '../record/query.ts';
import type { Authority } from '../tls/authority.ts';
import { aboutPeople } from './keeper-people.ts';
import type { KeeperComplaints } from './keeper-complaints.ts';
import type { KeeperSteps } from './keeper-steps.ts';
import { whose } from './keeper-whose.ts';

export type Knowing = {
  readonly config: () => Config;
  readonly status: (held: Held) => Status;
  readonly desk: Desk;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Journal;
  readonly privacy: Privacy;
  readonly people: People;
  readonly audit: Audit;
  readonly authority: Authority;
  readonly verifying: Verifying;
  readonly quotas: Quotas;
  readonly locks: Locks;
  readonly lockHistory: LockHistory;
  readonly steps: Steps;
  readonly stepHistory: StepHistory;
  readonly complaints: () => Pick<KeeperComplaints, 'list'>;
  readonly whoAt: (address: string, atMs: number) => Promise<Who>;
  readonly stepKeeping: Omit<KeeperSteps, 'steps' | 'history'>;
};

/** Rejects with a sentence for people. */
export async function answerTo(question: Question, knowing: Knowing, from: 'cli' | 'panel'): Promise<unknown> {
  const { config, status, desk, clock, log, journal, privacy, people, audit, authority, verifying, quotas } = knowing;
  const { locks, lockHistory, steps, stepHistory, stepKeeping } = knowing;
  switch (question.of) {
    case 'status':
      return status(await desk.held());
    case 'counters':
      return desk.counted(question.subject);
    case 'locks':
      return locks.list();
    case 'lock': {
      const { lock, notKept } = locks.lock(question.lock);
      desk.tellLocks();
      return { lock, notKept };
    }
    case 'unlock': {
      const { lock, notKept } = locks.unlock(question.subject, question.who, question.identity);
      desk.tellLocks();
      return { lock, notKept };
    }
    case 'whose':
      return whose(question.subject, { clock, steps: { steps, ...stepKeeping }, locks, quotas });
    case 'steps':
      return steps.list();
    case 'step': {
      const change = stepKeeping.take(question.step);
      desk.tellSteps();
      return change;
    }
    case 'step-back': {
      const change = stepKeeping.back(question.subject, question.who);
      desk.tellSteps();
      return change;
    }
    case 'step-history':
      return stepHistory.list(question.limit);
    case 'ca': {
      const certificate = question.rotate === undefined ? authority.certificatePem : authority.rotate(question.rotate);
      if (certificate === undefined) throw new Error('there is no authority; the log says why (ca.problem)');
      return { certificate };
    }
    case 'verifying':
      return verifying.list();
    case 'verifying-forget': {
      const { subject, server, who } = question;
      const forgotten = verifying.forget({ subject, server });
      if (!forgotten) throw new Error(`${subject} is not remembered for ${server}; "postern verifying" lists who is`);
      log.write('info', 'verifying.forgotten', { subject, server, who });
      return forgotten;
    }
    case 'lock-history':
      return lockHistory.list(question.limit);
    case 'top':
      noteLook(question.who, 'top', question.question);
      return journal.top(question.question);
    case 'sources':
      return journal.sources(question.question);
    case 'complaints':
      return knowing.complaints().list(question.limit, question.id);
    case 'who':
      noteLook(question.who, 'who', { address: question.address, at: question.at });
      return knowing.whoAt(question.address, question.at);
    case 'people':
    case 'user-add':
    case 'token-add':
    case 'person-remove':
      return aboutPeople(question, people, audit, config());
    case 'log':
      break;
  }
  noteLook(question.who, 'log', question.filter);
  return journal.search(searchOf(question.filter, privacy));

  /** The panel notes who looks itself. */
  function noteLook(who: string | undefined, what: string, about: object): void {
    if (from === 'cli') audit.write({ who: who ?? 'unknown', from, what, about: JSON.stringify(about) });
  }
}

/** An address of mail is looked for under every word that it may have been written as. */
export function searchOf(
  { identity, sender, recipient, ...rest }: LogFilter,
  privacy: Privacy,
): Parameters<Journal['search']>[0] {
  return {
    ...rest,
    ...(identity !== undefined && { identities: privacy.words(identity) }),
    ...(sender !== undefined && { senders: privacy.words(sender) }),
    ...(recipient !== undefined && { recipients: privacy.words(recipient) }),
  };
}
