/** `[filters.content]` */
import { table } from '../../field.ts';
import { choice, integer } from '../../value/plain.ts';
import { durationMs, sizeBytes } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const content = table(
  'How a message is taken apart for the filters that ask for it ("attachments" does). Past a limit they see what comes before it, and the limit itself is a finding: what was not looked at is never called clean. Of text there is no finding: rules and fingerprints see 256 Ki characters, links are found in 1 MiB of a part and 4 MiB of a message, 500 of them.',
  {
    deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
    max_size: sizeBytes({ doc: 'Largest message that is taken apart.', default: '64MiB', max: '1GiB' }),
    max_parts: integer({ doc: 'Parts of one message.', default: 1000, min: 1, max: 100_000 }),
    max_depth: integer({ doc: 'Multiparts and messages in one another.', default: 50, min: 1, max: 1000 }),
    max_fields: integer({ doc: 'Fields of one header.', default: 1000, min: 10, max: 100_000 }),
    max_header: sizeBytes({ doc: 'Size of one header.', default: '256KiB', min: '1KiB', max: '16MiB' }),
    size: choice(ACTIONS, { doc: 'When a message is larger.', default: 'tag' }),
    parts: choice(ACTIONS, { doc: 'When there are more parts.', default: 'reject' }),
    depth: choice(ACTIONS, { doc: 'When they lie deeper in one another.', default: 'reject' }),
    header: choice(ACTIONS, { doc: 'When a header is larger or has more fields.', default: 'reject' }),
    ambiguous: choice(ACTIONS, {
      doc: 'Two Content-Type or like fields in one part: readers differ in which they take.',
      default: 'tag',
    }),
    partial: choice(ACTIONS, {
      doc: 'A piece of a message (message/partial), of which no filter sees the whole.',
      default: 'reject',
    }),
    failure: choice(ACTIONS, { doc: 'When a message cannot be taken apart in time.', default: 'defer' }),
  },
);
