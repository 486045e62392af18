/** `[[webhook]]` */
import { list, listOf } from '../field.ts';
import { choice, path, text } from '../value/plain.ts';
import { NAME, NAME_TYPE } from './words.ts';

const KINDS = ['lock', 'step', 'limit', 'listing', 'refused'] as const;

export const webhook = list(
  'A program of yours that is told what happens, over HTTP: JSON, signed, tried again for an hour. docs/operate.md says what it gets.',
  {
    name: text({ doc: 'Stands in the log.', example: 'desk', pattern: NAME, type: NAME_TYPE }),
    url: text({
      doc: 'Where it is told.',
      example: 'https://desk.example.net/postern',
      // The client takes none with user and password before the host, and its error says them.
      pattern: /^(?=.{1,500}$)https?:\/\/(?:[a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:[/?][\x21-\x7e]*)?$/,
      type: 'a URL that begins with http:// or https:// and a host, without user and password',
    }),
    secret_file: path({
      doc: 'A file with the secret of the signature, readable by the keeper.',
      example: '/etc/postern/desk.secret',
    }),
    events: listOf((spec) => choice(KINDS, spec), {
      doc: '"lock": locked, unlocked, expired. "step": a step on the ladder and back. "limit": somebody is over a limit, the first and each notice_every time. "listing": a receiver has named a block list for a prefix of yours, once an hour. "refused": each attempt that is put off or refused.',
      default: ['lock', 'step', 'limit', 'listing'],
    }),
  },
  { mayBeEmpty: true },
);
