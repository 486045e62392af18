/** `[[step_rule]]` */
import { list, listOf } from '../field.ts';
import { countedClass } from '../value/mail.ts';
import { choice, integer, text } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';
import { NAME, NAME_TYPE } from './words.ts';

export const stepRule = list(
  'An automatic step on the ladder of modes ("postern mode"): when so great a share of what somebody sends is bad, his mode is a stricter one for a while, and then the configuration\'s again. What "observe" would have refused counts too.',
  {
    name: text({ doc: 'Stands in the reason.', example: 'bad-share', pattern: NAME, type: NAME_TYPE }),
    classes: listOf(countedClass, {
      doc: 'What is bad: "spam" is all of spam.*; "postern classes" lists them. "complaint" is a complaint that has come in ([complaints]).',
      example: ['spam', 'virus'],
      min: 1,
    }),
    share: integer({ doc: 'Percent of attempts that are bad.', example: 20, min: 1, max: 100 }),
    least: integer({ doc: 'How many attempts there must be.', default: 20, min: 1, max: 1000000 }),
    within: durationMs({ doc: 'In which time, to a tenth of it.', default: '1h', min: '10s', max: '7d' }),
    of: choice(['subscriber', 'network'], {
      doc: 'Whose attempts are counted together, and who takes the step.',
      default: 'subscriber',
    }),
    mode: choice(['enforce', 'smarthost-only', 'block'], {
      doc: 'Up to which mode. Who has it, or a stricter one, takes no step.',
      example: 'block',
    }),
    for: durationMs({ doc: 'How long.', default: '1h', min: '1s', max: '365d' }),
    networks: listOf(text, { doc: 'Only of these networks; none is all.', default: [], example: ['customers'] }),
  },
  { mayBeEmpty: true },
);
