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
  {
    weight: 12,
    arbitrary: fc.constantFrom(
      'text',
      '',
      '..',
      '..x',
      '.x',
      '.\xff',
      ' fold',
      'QUIT',
      'MAIL FROM:<a@a.example>',
      'y'.repeat(996),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('From: again@a.example', 'Date: z', GTUBE, 'z'.repeat(997), 'x'.repeat(900)),
  },
);
const header = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('From: a@a.example\r\nDate: x\r\n\r\n', 'From: a@a.example\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('Date: x\r\n\r\n', '') },
);
const body = fc
  .tuple(header, fc.array(bodyLine, { maxLength: 6 }))
  .map(([fields, lines]) => `${fields}${lines.map((line) => `${line}\r\n`).join('')}.\r\n`);

/** What a host may have to say behind its recipients, while their answers are due. */
const data = fc.oneof(
  { weight: 12, arbitrary: body.map((text) => `DATA\r\n${text}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('NO\0OP\r\n', 'GET / HTTP/1.1\r\n', 'BDAT 1 LAST\r\nx', 'RSET\r\n', 'NOOP\n'),
  },
);
/** A message as a good host sends it, so that sessions come as far as a body often enough. */
const message = fc
  .tuple(fc.array(fc.constantFrom('b', 'b', 'c', '550', '451', 'fail'), { minLength: 1, maxLength: 4 }), data)
  .map(
    ([to, text]) => `MAIL FROM:<a@a.example>\r\n${to.map((one) => `RCPT TO:<${one}@b.example>\r\n`).join('')}${text}`,
  );

/** Nothing that a host would not do. */
const good = fc.oneof(
  { weight: 4, arbitrary: message },
  { weight: 1, arbitrary: fc.constantFrom('NOOP\r\n', 'RSET\r\n', 'EHLO a.example\r\n', 'VRFY a\r\n', 'HELP\r\n') },
);
const anything = fc.oneof(
  { weight: 6, arbitrary: command.map((line) => `${line}\r\n`) },
  { weight: 3, arbitrary: message },
  { weight: 1, arbitrary: body },
);
const steps = fc.oneof(
  { weight: 2, arbitrary: fc.array(good, { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.array(anything, { maxLength: 14 }) },
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
      greets: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
      steps,
      damages: fc.oneof(
        { weight: 1, arbitrary: fc.constant([]) },
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

/** Where to cut: at shares of the length, so that they shrink with the text; behind each dot or CR; behind every octet. */
export type Cuts = readonly number[] | 'dots' | 'crs' | 'octets';
export const cuts: fc.Arbitrary<Cuts> = fc.oneof(
  { weight: 2, arbitrary: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }) },
  { weight: 1, arbitrary: fc.constantFrom('dots' as const, 'crs' as const, 'octets' as const) },
);

export function cutAt(text: string, how: Cuts): string[] {
  if (how === 'dots') return text.split(/(?<=\.)/);
  if (how === 'crs') return text.split(/(?<=\r)/);
  if (how === 'octets') return text.split('');
  const places = [...new Set(how.map((share) => Math.floor(share * text.length)))].sort((a, b) => a - b);
  return [0, ...places].map((from, i) => text.slice(from, places[i] ?? text.length)).filter((part) => part !== '');
}
