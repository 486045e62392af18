/** `[reports]` */
import { listOf, optional, table } from '../field.ts';
import { mailAddress } from '../value/mail.ts';
import { choice, integer } from '../value/plain.ts';
import { template } from '../value/template.ts';

/** roles/keeper-reports.ts fills them in. */
export const NOTICE_PLACES = [
  ...(['gateway', 'subject', 'identity', 'reason', 'who', 'how', 'since', 'until', 'evidence'] as const),
] as const;

export const reports = table(
  'Mail of our own to who answers for a host: a report for each refused spam, virus and fraud (RFC 5965). It goes through the smarthost. Off until "from" is set; docs/reports.md.',
  {
    from: optional(
      mailAddress({
        doc: 'Author of these mails. Their envelope has the null sender.',
        example: 'postern@example.net',
      }),
    ),
    contact: optional(
      mailAddress({ doc: 'Who is told where there is no other contact.', example: 'abuse@example.net' }),
    ),
    per_hour: integer({
      doc: 'Reports in full of one subscriber in an hour of the clock; what is beyond is told of in one digest when the hour is over.',
      default: 10,
      min: 0,
      max: 1000,
    }),
    tables: listOf((spec) => choice(['daily', 'identities'], spec), {
      doc: 'CSV for each contact. "daily": after midnight (UTC) a row for each of his subscribers. "identities": every two hours a row for each identity, with the columns Authentication Domain, Authentication User, User Identification, Spam Count, Invalid Sender Count.',
      default: [],
    }),
    lock_notice: optional(
      template(NOTICE_PLACES, {
        doc: 'What the contact is told when somebody of his is locked, by hand or by rule; the first line is the subject. Not told where it is not set.',
        example: '{subject} may not send mail\nSince {since}, until {until}: {reason}. Ids: {evidence}',
      }),
    ),
  },
);
