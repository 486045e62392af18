/** `[[rule]]` */
import { list, optional } from '../field.ts';
import { choice, decimal, pattern, text } from '../value/plain.ts';
import { ACTIONS, NAME, NAME_TYPE } from './words.ts';

export const rule = list(
  'A rule of your own. What it says of a message is true when every pattern that stands in it matches. Patterns are RE2\'s, "(?i)" at the beginning makes one blind to case; "^" and "$" stand for ends of lines. "postern scan" tries rules on files, and with --journal on what was sent of late.',
  {
    name: text({ doc: 'The name in log and journal.', example: 'lottery', pattern: NAME, type: NAME_TYPE }),
    sender: optional(pattern({ doc: 'On the envelope sender; the null sender is empty.', example: '@example\\.com$' })),
    recipient: optional(pattern({ doc: 'On the recipients, one a line.', example: '^info@' })),
    helo: optional(pattern({ doc: 'On the name in HELO or EHLO.', example: '^localhost$' })),
    header: optional(
      pattern({
        doc: 'On the header, one line "name: value" for each field, the name in lower case.',
        example: '(?i)^subject:.*lottery',
      }),
    ),
    body: optional(
      pattern({ doc: 'On the text that people see, 256 Ki characters of it.', example: '(?i)you have won' }),
    ),
    attachment: optional(
      pattern({
        doc: 'On the names of files, also of those in archives, one a line.',
        example: '(?i)invoice.*\\.html$',
      }),
    ),
    url: optional(
      pattern({ doc: 'On the addresses of links and in the text, one a line.', example: '^https?://[^/]+\\.zip/' }),
    ),
    action: choice(ACTIONS, { doc: 'What a message leads to of which it is true.', default: 'ignore' }),
    score: decimal({ doc: 'What it adds to the sum of scores.', default: 0.5, max: 100 }),
  },
  { mayBeEmpty: true },
);
