import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FarReplyParser, oneLine, type Parsed, textLines } from '../../../src/smtp/far-reply.ts';

type Seen = { readonly replies: readonly string[]; readonly isGarbage: boolean; readonly isMidReply: boolean };

function parse(...chunks: readonly Buffer[]): Seen {
  const parser = new FarReplyParser();
  const replies: string[] = [];
  let isGarbage = false;
  for (const chunk of chunks) {
    const parsed: Parsed = parser.push(chunk);
    replies.push(...parsed.replies.map(({ code, bytes }) => `${code}:${bytes.toString('latin1')}`));
    if (parsed.garbage !== undefined) isGarbage = true;
  }
  return { replies, isGarbage, isMidReply: parser.isMidReply };
}

const STREAMS: Readonly<Record<string, string>> = {
  'one line': '250 2.0.0 ok\r\n',
  'a code alone': '250\r\n',
  'a code and a blank': '354 \r\n',
  'many lines': '250-mx.example.net\r\n250-SIZE 1000\r\n250-\r\n250 DSN\r\n',
  'three replies': '250 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n354 d\r\n',
  'a reply and the beginning of another': '250 a\r\n250-b\r\n250',
  'a tab': '250 a\tb\r\n',
  'controls and eight bits': '550 a\x00\x07\x1b[31mb\x7f\xc3\xa9\r\n',
  'a line of 600': `250 ${'x'.repeat(600)}\r\n`,
  'a long line among others': `250-${'y'.repeat(900)}\r\n250 end\r\n`,
  '100 lines': `${'250-x\r\n'.repeat(99)}250 end\r\n`,
  'an unusual code': '571 no\r\n',
};

const GARBAGE: Readonly<Record<string, string>> = {
  'a bare LF': '250 ok\n',
  'a bare LF later': '250 ok\r\n250 b\n250 c\r\n',
  'a bare CR': '250 o\rk\r\n',
  'CR CR LF': '250 ok\r\r\n',
  'no code': 'hello\r\n',
  'two digits': '25 ok\r\n',
  'four digits': '2500 ok\r\n',
  'a code below 200': '199 no\r\n',
  'a code above 599': '600 no\r\n',
  'a full stop behind the code': '250.ok\r\n',
  'two codes in one reply': '250-a\r\n251 b\r\n',
  'an empty line': '\r\n',
  'an empty line between': '250 a\r\n\r\n250 b\r\n',
  '101 lines': `${'250-x\r\n'.repeat(100)}250 end\r\n`,
  HTTP: 'HTTP/1.1 200 OK\r\n\r\n',
};

test('a reply stream cut at every position gives the same replies', () => {
  for (const [name, text] of Object.entries(STREAMS)) {
    const bytes = Buffer.from(text, 'latin1');
    const whole = parse(bytes);
    assert.equal(whole.isGarbage, false, name);
    assert.ok(whole.replies.length > 0, name);
    for (let at = 1; at < bytes.length; at++) {
      assert.deepEqual(parse(bytes.subarray(0, at), bytes.subarray(at)), whole, `${name}, cut at ${at}`);
    }
    const single = [...bytes].map((byte) => Buffer.from([byte]));
    assert.deepEqual(parse(...single), whole, `${name}, byte by byte`);
  }
});

test('garbage is garbage however it is cut, and what was whole before it is kept', () => {
  for (const [name, text] of Object.entries(GARBAGE)) {
    const bytes = Buffer.from(text, 'latin1');
    const whole = parse(bytes);
    assert.equal(whole.isGarbage, true, name);
    for (let at = 1; at < bytes.length; at++) {
      assert.deepEqual(parse(bytes.subarray(0, at), bytes.subarray(at)), whole, `${name}, cut at ${at}`);
    }
  }
  assert.deepEqual(parse(Buffer.from('250 ok\r\n250 b\n')).replies, ['250:250 ok\r\n']);
});

test('nothing is read after garbage', () => {
  const parser = new FarReplyParser();
  parser.push(Buffer.from('oops\r\n'));
  const after = parser.push(Buffer.from('250 ok\r\n'));
  assert.deepEqual(after.replies, []);
  assert.ok(after.garbage);
});

test('what is passed on is printable, has CRLF line ends and at most 512 octets a line', () => {
  const parsed = new FarReplyParser().push(
    Buffer.from(`550-\x1b[2J\xe2\x80\xae${'x'.repeat(2000)}\r\n550 \x00end\r\n`, 'latin1'),
  );
  const text = parsed.replies[0]?.bytes.toString('latin1') ?? '';
  const lines = text.split('\r\n');
  assert.equal(lines.length, 3);
  assert.equal(lines[0]?.length, 510);
  assert.equal(lines[1], '550 ?end');
  assert.match(text, /^[\x20-\x7e\r\n]+$/);
  assert.ok(text.startsWith('550-?[2J???xxx'));
});

test('a reply of more than 64 KiB is garbage as soon as that much is there', () => {
  const parser = new FarReplyParser();
  const line = Buffer.from(`250-${'x'.repeat(1020)}\r\n`);
  let pushed = 0;
  while (parser.push(line).garbage === undefined) {
    pushed += line.length;
    assert.ok(pushed <= 64 * 1024);
  }
  assert.ok(pushed > 60 * 1024);
  const endless = new FarReplyParser();
  assert.equal(endless.push(Buffer.alloc(64 * 1024, 0x78)).garbage, undefined);
  assert.ok(endless.push(Buffer.from('x')).garbage);
});

test('the replies given out stay as they are when more is read', () => {
  const parser = new FarReplyParser();
  parser.push(Buffer.from('250-one\r\n'));
  const [first] = parser.push(Buffer.from('250 two\r\n251 thr')).replies;
  const [second] = parser.push(Buffer.from('ee\r\n')).replies;
  for (let i = 0; i < 50; i++) parser.push(Buffer.from(`252-${i}\r\n`));
  assert.equal(first?.bytes.toString(), '250-one\r\n250 two\r\n');
  assert.equal(second?.bytes.toString(), '251 three\r\n');
});

test('text of a reply, by lines and for a log', () => {
  const [reply] = new FarReplyParser().push(Buffer.from('550-5.1.1 No such user\r\n550\r\n')).replies;
  assert.ok(reply);
  assert.deepEqual(textLines(reply), ['5.1.1 No such user', '']);
  assert.equal(oneLine(reply), '550 5.1.1 No such user /');
});
