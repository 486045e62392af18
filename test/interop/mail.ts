/** The mails that every sender sends: one for each case, with bytes that break what is careless with them. */
import { createHash, randomBytes } from 'node:crypto';

export type Mail = {
  /** '' is the null sender */
  readonly from: string;
  readonly to: readonly string[];
  /** field lines, each ending in CRLF, ASCII */
  readonly header: string;
  /** lines ending in CRLF */
  readonly body: Buffer;
};

export type Family = 4 | 6;

export const DOMAIN: Readonly<Record<Family, string>> = { 4: 'v4.example.org', 6: 'v6.example.org' };
export const SENDER = 'customer@customers.example';
export const LARGE_BYTES = 25 * 1024 ** 2;

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The whole message as it goes over the wire, before dot-stuffing. */
export function bytesOf(mail: Mail): Buffer {
  return Buffer.concat([Buffer.from(`${mail.header}\r\n`, 'latin1'), mail.body]);
}

/** Lone dots, dots in front, "From " lines, blank lines, blanks at the end, and a line as long as all of them take. */
const AWKWARD = [
  'An ordinary line.',
  '.',
  '..',
  '.a dot in front',
  '',
  'From the start of a line',
  '>From a quoted one',
  'blanks at the end  \t ',
  '',
  '',
  '.',
  'x'.repeat(980),
  '=3D=20=',
  // Without backslash and n: that is a line end in swaks' language of templates.
  'backslashes: \\r \\t \\\\, percent: %FROM_ADDRESS %%, dollar: $HOME ${x} `id`',
  'QUIT',
  'RSET',
  '',
];

export function plainBody(): Buffer {
  return Buffer.from(`${AWKWARD.join('\r\n')}\r\n`, 'latin1');
}

/** UTF-8, and every octet above 127 by itself, so that it is no valid UTF-8 as a whole. */
export function eightBitBody(): Buffer {
  const octets = Buffer.from(Array.from({ length: 128 }, (_, n) => n + 128));
  return Buffer.concat([Buffer.from('Grüße, 你好, привет\r\n'), octets, Buffer.from('\r\n'), plainBody()]);
}

/** 25 MiB: base64 of random bytes as attachments are, with the awkward lines all through it. */
export function largeBody(): Buffer {
  const block = Buffer.concat([
    Buffer.from(
      `${(
        randomBytes(57 * 1000)
          .toString('base64')
          .match(/.{76}/g) ?? []
      ).join('\r\n')}\r\n`,
    ),
    plainBody(),
  ]);
  const body = Buffer.alloc(LARGE_BYTES, block);
  body.write('\r\n', LARGE_BYTES - 2, 'latin1');
  // No block border may leave half a line end just before that one.
  if (body[LARGE_BYTES - 3] === 0x0d) body[LARGE_BYTES - 3] = 0x78;
  return body;
}

/** `subject` is unique in a run: it is what finds the mail again among those that arrived. */
export function mailOf(options: {
  readonly subject: string;
  readonly family: Family;
  readonly from?: string;
  readonly recipients?: number;
  readonly body?: Buffer;
}): Mail {
  const body = options.body ?? plainBody();
  const count = options.recipients ?? 1;
  const to = Array.from({ length: count }, (_, n) => `reader${n + 1}@${DOMAIN[options.family]}`);
  // In one look at all of it: a call for each octet takes a second for the large one.
  const eightBit = /[\x80-\xff]/.test(body.toString('latin1'));
  const header = [
    'Date: Mon, 23 Nov 2026 12:00:00 +0000',
    `From: Customer <${SENDER}>`,
    `To: Readers <${to[0]}>`,
    `Subject: ${options.subject}`,
    `Message-ID: <${options.subject.replaceAll(/[^a-z0-9]+/gi, '.')}@customers.example>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Transfer-Encoding: ${eightBit ? '8bit' : '7bit'}`,
    'X-Odd:   folded and',
    '\t oddly   spaced',
    '',
  ].join('\r\n');
  return { from: options.from ?? SENDER, to, header, body };
}
