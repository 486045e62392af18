/** `[complaints]` */
import { listOf, optional, table } from '../field.ts';
import { endpoint, prefix } from '../value/net.ts';
import { choice, path } from '../value/plain.ts';

export const complaints = table(
  'Complaints about mail from here, as others send them: reports (RFC 5965) and mails sent on. docs/reports.md.',
  {
    listen: optional(
      endpoint({
        doc: 'Where the keeper takes them by mail; your mail server sends on to it what comes to your address for abuse.',
        example: '127.0.0.1:2526',
        addressOnly: true,
      }),
    ),
    protocol: choice(['lmtp', 'smtp'], { doc: 'What is spoken there.', default: 'lmtp' }),
    from: listOf(prefix, {
      doc: 'Who may connect to it. A complaint counts against a host: only those who have looked at what they send on.',
      default: ['127.0.0.1/32', '::1/128'],
    }),
    maildir: optional(
      path({
        doc: 'A Maildir whose new mails are complaints, readable and writable by the keeper; they are moved to `cur`.',
        example: '/var/mail/postern-complaints',
      }),
    ),
  },
);
