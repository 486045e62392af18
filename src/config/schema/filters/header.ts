/** `[filters.header]` */
import { optional, table } from '../../field.ts';
import { choice } from '../../value/plain.ts';
import { durationMs } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const header = table('Header fields that must be there once (RFC 5322 section 3.6).', {
  missing_from: choice(ACTIONS, { doc: 'No From.', default: 'reject' }),
  duplicate_from: choice(ACTIONS, { doc: 'More than one From.', default: 'reject' }),
  missing_date: choice(ACTIONS, { doc: 'No Date. Many devices send none.', default: 'ignore' }),
  duplicate_date: choice(ACTIONS, { doc: 'More than one Date.', default: 'reject' }),
  duplicate_other: choice(ACTIONS, {
    doc: 'More than one Subject, To, Cc, Bcc, Reply-To, Sender, Message-ID, In-Reply-To or References.',
    default: 'ignore',
  }),
  date_off: optional(
    durationMs({
      doc: 'How far Date may be off, either way; without it nobody looks. Printers and cameras have no clock.',
      example: '7d',
      min: '1h',
      max: '3650d',
    }),
  ),
  far_date: choice(ACTIONS, { doc: 'It is further off.', default: 'tag' }),
  failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
});
