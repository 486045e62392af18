/** `[locks]` and `[[lock_rule]]` */
import { list, listOf, optional, table } from '../field.ts';
import { countedClass } from '../value/mail.ts';
import { prefix } from '../value/net.ts';
import { choice, integer, text } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';
import { NAME, NAME_TYPE } from './words.ts';

export const locks = table('Who may not send at present ("postern lock"), and what is said to him.', {
  management: listOf(prefix, {
    doc: 'Sources that are never locked, neither by hand nor by a rule: those from which the gateway is managed.',
    default: [],
    example: ['198.51.100.0/29'],
  }),
  text: optional(
    text({
      doc: "Told in the place of each lock's own sentence.",
      example: 'Mail from here is stopped; please call +1 555 0100',
      pattern: /^[\x20-\x5a\x5c\x5e-\x7e]{5,120}$/,
      type: 'a text of 5 to 120 characters of ASCII without "[" and "]"',
    }),
  ),
  self_unlocks: integer({
    doc: 'How often in self_unlock_period a line ends a lock of a rule itself, at the page where the URL in the refusal leads; 0: never. What was locked by hand, or stays until "postern unlock", it cannot end.',
    default: 0,
    min: 0,
    max: 100,
  }),
  self_unlock_period: durationMs({ doc: 'See self_unlocks.', default: '7d', min: '1m', max: '365d' }),
});

export const lockRule = list(
  'An automatic lock: so many attempts of some classes in some time, or findings of these classes whose action is "lock-points". Only what came over an accepted connection counts, and nothing in mode "observe".',
  {
    name: text({ doc: 'Stands in the reason.', example: 'spam-run', pattern: NAME, type: NAME_TYPE }),
    classes: listOf(countedClass, {
      doc: 'Of which attempts: "spam" is all of spam.*; "postern classes" lists them. "complaint" is a complaint that has come in ([complaints]).',
      example: ['spam', 'limit.unknown'],
      min: 1,
    }),
    count: integer({ doc: 'How many.', example: 3, min: 1, max: 100000 }),
    within: durationMs({ doc: 'In which time.', example: '10m', min: '1s', max: '7d' }),
    lock: choice(['identity', 'subscriber'], {
      doc: 'Whom: "identity" is who it is behind the subscriber, and the subscriber itself only where no rule finds one.',
      default: 'identity',
    }),
    how: choice(['reject', 'defer', 'kernel'], {
      doc: 'As "postern lock --how". An identity that is to be locked in the kernel is rejected.',
      default: 'reject',
    }),
    for: durationMs({ doc: 'How long.', default: '30m', min: '1s', max: '365d' }),
    unlocks: integer({
      doc: 'How often in unlock_period such a lock ends by itself; the next one stays until "postern unlock".',
      default: 1,
      min: 0,
      max: 1000,
    }),
    unlock_period: durationMs({ doc: 'See unlocks.', default: '7d', min: '1m', max: '365d' }),
    networks: listOf(text, { doc: 'Only of these networks; none is all.', default: [], example: ['customers'] }),
  },
  { mayBeEmpty: true },
);
