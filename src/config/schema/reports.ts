/** `[reports]` */
import { optional, table } from '../field.ts';
import { mailAddress } from '../value/mail.ts';
import { integer } from '../value/plain.ts';

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
  },
);
