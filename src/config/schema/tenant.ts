/** `[[tenant]]` */
import { list, optional } from '../field.ts';
import { mailAddress } from '../value/mail.ts';
import { text } from '../value/plain.ts';
import { NAME, NAME_TYPE } from './words.ts';

export const tenant = list(
  'What is known of a tenant, to whom networks and subscribers belong by their `tenant`.',
  {
    name: text({ doc: 'The name.', example: 'example-hosting', pattern: NAME, type: NAME_TYPE }),
    contact: optional(
      mailAddress({ doc: 'Who is to be told of what his hosts do.', example: 'abuse@hosting.example' }),
    ),
  },
  { mayBeEmpty: true },
);
