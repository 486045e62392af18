/** Generated sessions: what a host sends, as text (latin1), and the ways to cut it into segments. */
import * as fc from 'fast-check';
import { GTUBE, MAIL_ARGUMENTS, RCPT_ARGUMENTS } from './model.ts';

const SIMPLE = [
  'NOOP',
  'noop x',
  'RSET',
  'RSET x',
  'VRFY a',
  'VRFY',
  'EXPN x',
  'HELP',
  'STARTTLS',
  'ETRN x',
  'TURN',
  'AUTH PLAIN AGEAYg==',
  'DATA',
  'DATA x',
  'XYZZY',
  '',
  'EHLO',
  'EHLO a b',
  'HELO a.example',
  'EHLO a.example',
  'ehlo [192.0.2.1]',
];
const LAST = ['QUIT', 'BDAT 10 LAST', 'GET / HTTP/1.1', '\x16\x03\x01'];

const command = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...SIMPLE) },
  { weight: 3, arbitrary: fc.constantFrom(...Object.keys(MAIL_ARGUMENTS)).map((a) => `MAIL ${a}`) },
  { weight: 3, arbitrary: fc.constantFrom(...Object.keys(RCPT_ARGUMENTS)).map((a) => `RCPT ${a}`) },
  { weight: 1, arbitrary: fc.constantFrom(...LAST) },
  { weight: 1, arbitrary: fc.integer({ min: 2030, max: 2060 }).map((length) => `Y${'y'.repeat(length)}`) },
);

const bodyLine = fc.oneof(
  fc.constantFrom(
    'text',
    '',
    '..',
    '..x',
    '.x',
    ' fold',
    'From: again@a.example',
    'Date: z',
    'MAIL FROM:<a@a.example>',
  ),
  fc.constantFrom(GTUBE, 'QUIT', 'x'.repeat(700), 'y'.repeat(996), 'z'.repeat(997), '\xff\xfe'),
);
const body = fc
  .tuple(
    fc.constantFrom('From: a@a.example\r\nDate: x\r\n\r\n', 'From: a@a.example\r\n', 'Date: x\r\n\r\n', ''),
    fc.array(bodyLine, { maxLength: 8 }),
  )
  .map(([header, lines]) => `${header}${lines.map((line) => `${line}\r\n`).join('')}.\r\n`);

/** A message as a good host sends it, so that sessions come as far as a body often enough. */
const message = fc
  .tuple(fc.array(fc.constantFrom('b', 'c', '550', '451', 'fail'), { minLength: 1, maxLength: 4 }), body)
  .map(
    ([to, text]) =>
      `MAIL FROM:<a@a.example>\r\n${to.map((one) => `RCPT TO:<${one}@b.example>\r\n`).join('')}DATA\r\n${text}`,
  );

const step = fc.oneof(
  { weight: 6, arbitrary: command.map((line) => `${line}\r\n`) },
  { weight: 3, arbitrary: message },
  { weight: 1, arbitrary: body },
);

/** What must not stand anywhere, put anywhere. */
const damage = fc.record({
  at: fc.nat(),
  what: fc.constantFrom('\r', '\n', '\0', '\r\n', '.', '\r\r\n', '\n.\r\n', '\r\n.\n', '\r\n.\r\n', '\r.\r'),
});

/** A session; `damaged` is at most how often it is spoilt. */
export function sessions(damaged = 2): fc.Arbitrary<string> {
  return fc
    .record({
      greets: fc.boolean(),
      steps: fc.array(step, { maxLength: 14 }),
      damages: fc.oneof(
        { weight: 2, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(damage, { maxLength: damaged }) },
      ),
      quits: fc.boolean(),
    })
    .map(({ greets, steps, damages, quits }) => {
      let text = (greets ? 'EHLO a.example\r\n' : '') + steps.join('') + (quits ? 'QUIT\r\n' : '');
      for (const { at, what } of damages) {
        const place = at % (text.length + 1);
        text = text.slice(0, place) + what + text.slice(place);
      }
      return text;
    });
}

/** Places to cut at, as shares of the length, so that they shrink with the text. */
export const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 });

export function cutAt(text: string, shares: readonly number[]): string[] {
  const places = [...new Set(shares.map((share) => Math.floor(share * text.length)))].sort((a, b) => a - b);
  return [0, ...places].map((from, i) => text.slice(from, places[i] ?? text.length)).filter((part) => part !== '');
}
