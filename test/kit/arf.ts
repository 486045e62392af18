/**
 * RFC 5965 read strictly, by nobody who wrote it: what is not exactly as the RFC has it throws. Knows nothing of src/.
 *
 * Section 2: multipart/report; report-type=feedback-report; three parts, text/plain, message/feedback-report, and message/rfc822
 * or text/rfc822-headers. Section 3: which field how often. Part two is 7bit ASCII.
 */
import assert from 'node:assert/strict';

export type Report = {
  readonly header: ReadonlyMap<string, readonly string[]>;
  readonly text: string;
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly third: 'message/rfc822' | 'text/rfc822-headers';
  /** latin1 */
  readonly quoted: string;
};

const ONCE = ['feedback-type', 'user-agent', 'version'];
const AT_MOST_ONCE = [
  'original-envelope-id',
  'original-mail-from',
  'arrival-date',
  'reporting-mta',
  'source-ip',
  'incidents',
  'received-date',
];
const ANY = ['authentication-results', 'original-rcpt-to', 'reported-domain', 'reported-uri'];
const TYPES = ['abuse', 'fraud', 'other', 'virus', 'not-spam', 'auth-failure'];
const DATE = /^(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$/;

/** `mail` is what a server was given: CRLF everywhere, latin1. */
export function readReport(mail: string): Report {
  for (const line of mail.split('\r\n')) {
    assert.doesNotMatch(line, /[\r\n\0]/, 'a bare CR, LF or NUL');
    assert.ok(line.length <= 998, `a line of ${line.length}`);
  }
  const { header, body } = partOf(mail);
  for (const name of ['from', 'to', 'date', 'message-id', 'mime-version', 'subject', 'content-type'])
    assert.equal(header.get(name)?.length, 1, `${name} once`);
  const [type, parameters] = typeOf(header);
  assert.equal(type, 'multipart/report');
  assert.equal(parameters.get('report-type'), 'feedback-report');
  const boundary = parameters.get('boundary') ?? '';
  assert.match(boundary, /^[\w'()+,./:=? -]{1,69}[\w'()+,./:=?-]$/);
  const delimiter = `\r\n--${boundary}`;
  const pieces = `\r\n${body}`.split(delimiter);
  assert.equal(pieces.length, 5, 'exactly three parts and an end');
  assert.match(pieces.at(-1) ?? '', /^--\s*$/, 'closed, and nothing behind it');
  const parts = pieces.slice(1, 4).map((piece) => partOf(piece.replace(/^[ \t]*\r\n/, '')));
  const types = parts.map((part) => typeOf(part.header)[0]);
  assert.equal(types[0], 'text/plain');
  assert.equal(types[1], 'message/feedback-report');
  const third = types[2];
  assert.ok(third === 'message/rfc822' || third === 'text/rfc822-headers', 'the third part');
  for (const part of parts.slice(1))
    assert.match(
      part.header.get('content-transfer-encoding')?.[0] ?? '7bit',
      /^(?:7bit|8bit)$/,
      'no encoding over a message',
    );
  const [text, feedback, quoted] = parts as [Part, Part, Part];
  assert.match(feedback.body, /^[\t\r\n\x20-\x7e]*$/, 'part two is ASCII');
  const { header: fields, body: rest } = partOf(`${feedback.body}\r\n`);
  assert.equal(rest.trim(), '', 'fields alone');
  checkFields(fields);
  return { header, text: text.body, fields, third, quoted: quoted.body };
}

function checkFields(fields: Part['header']): void {
  for (const name of ONCE) assert.equal(fields.get(name)?.length, 1, `${name} exactly once`);
  for (const name of AT_MOST_ONCE) assert.ok((fields.get(name)?.length ?? 0) <= 1, `${name} at most once`);
  for (const name of fields.keys())
    assert.ok(
      [...ONCE, ...AT_MOST_ONCE, ...ANY].includes(name) || name.startsWith('x-'),
      `${name} is no registered field`,
    );
  const only = (name: string): string | undefined => fields.get(name)?.[0];
  assert.ok(TYPES.includes(only('feedback-type') ?? ''), 'a type of section 7.3');
  assert.equal(only('version'), '1');
  assert.match(only('user-agent') ?? '', /^[\w.-]+\/[\w.-]+/);
  const date = only('arrival-date');
  if (date !== undefined) assert.match(date, DATE);
  const source = only('source-ip');
  if (source !== undefined) assert.match(source, /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)$/i);
  const mta = only('reporting-mta');
  if (mta !== undefined) assert.match(mta, /^dns; [\w.-]+$/);
  const from = only('original-mail-from');
  if (from !== undefined) assert.match(from, /^<[^<>]*>$/);
  for (const to of fields.get('original-rcpt-to') ?? []) assert.match(to, /^<[^<>]+>$/);
  for (const domain of fields.get('reported-domain') ?? []) assert.match(domain, /^[\w.-]+$/);
}

type Part = { readonly header: ReadonlyMap<string, readonly string[]>; readonly body: string };

function partOf(text: string): Part {
  const end = text.startsWith('\r\n') ? 0 : text.indexOf('\r\n\r\n');
  assert.ok(end >= 0, 'an empty line between header and body');
  const header = new Map<string, string[]>();
  const lines = text.slice(0, end).replace(/\r\n[ \t]+/g, ' ');
  for (const line of lines === '' ? [] : lines.split('\r\n')) {
    const [, name = '', value = ''] = /^([\x21-\x39\x3b-\x7e]+):[ \t]*(.*)$/.exec(line) ?? [];
    assert.notEqual(name, '', `no field: ${line}`);
    header.set(name.toLowerCase(), [...(header.get(name.toLowerCase()) ?? []), value.trim()]);
  }
  return { header, body: text.slice(end + (end === 0 ? 2 : 4)) };
}

function typeOf(header: Part['header']): readonly [type: string, parameters: ReadonlyMap<string, string>] {
  const [value = ''] = header.get('content-type') ?? [];
  const [type = '', ...rest] = value.split(/;(?=(?:[^"]*"[^"]*")*[^"]*$)/);
  const parameters = rest.map((one): readonly [string, string] => {
    const [, name = '', quoted, plain] = /^\s*([\w-]+)=(?:"([^"]*)"|([^\s"]+))\s*$/.exec(one) ?? [];
    assert.notEqual(name, '', `no parameter: ${one}`);
    return [name.toLowerCase(), quoted ?? plain ?? ''];
  });
  return [type.trim().toLowerCase(), new Map(parameters)];
}
