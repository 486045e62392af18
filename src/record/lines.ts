/** One line of JSON for each attempt, through the log: for journald, or whatever reads standard output. */
import type { Log } from '../kit/log.ts';
import type { Attempt } from './events.ts';

/** journald splits lines at 48 KiB; who needs all of 1,000 recipients asks the journal. */
const MAX_RECIPIENTS = 20;
const MAX_FINDINGS = 20;

/** Writes an attempt to which `Privacy.apply` has been applied. Strings are cut and escaped by the log. */
export function writeLine(log: Log, attempt: Attempt): void {
  const { at, recipients, recipientsOmitted = 0, findings } = attempt;
  log.write('info', 'attempt', {
    ...attempt,
    // JSON leaves them out: the line has an `event` and an `at` of its own.
    kind: undefined,
    at: undefined,
    recipientsOmitted: undefined,
    time: new Date(at).toISOString(),
    recipients: recipients.length > MAX_RECIPIENTS ? recipients.slice(0, MAX_RECIPIENTS) : recipients,
    recipientCount: recipients.length + recipientsOmitted,
    findings: findings.length > MAX_FINDINGS ? findings.slice(0, MAX_FINDINGS) : findings,
  });
}
