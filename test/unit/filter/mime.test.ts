/** How a message is taken apart, and that every reader's way of reading a name is known. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readHtml } from '../../../src/filter/html.ts';
import { inspect } from '../../../src/filter/inspect.ts';
import { walk } from '../../../src/filter/mime.ts';
import { decodedWords, parameters, readWords } from '../../../src/filter/names.ts';

export const LIMITS = { parts: 1000, depth: 50, fields: 1000, headerBytes: 256 * 1024 };

function partsOf(text: string): string[] {
  const bytes = Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');
  return walk(bytes, LIMITS).parts.map(
    ({ type, depth, from, to }) => `${depth} ${type} ${JSON.stringify(bytes.toString('latin1', from, to))}`,
  );
}

function faultsOf(text: string): string[] {
  return [...walk(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'), LIMITS).faults];
}

const MIXED = 'Content-Type: multipart/mixed; boundary=';

describe('the parts of a message', () => {
  const cases: readonly [name: string, text: string, want: readonly string[]][] = [
    ['no MIME', 'From: a\n\nhi\n', ['0 text/plain "hi\\r\\n"']],
    ['no body', 'From: a\n', ['0 text/plain ""']],
    [
      'two parts, preamble and epilogue',
      `${MIXED}b\n\npre\n--b\n\none\n--b\nContent-Type: TEXT/HTML\n\ntwo\n--b--\nepilogue\n--b\n\nthree\n`,
      ['1 text/plain "one"', '1 text/html "two"'],
    ],
    [
      'a boundary that is the beginning of another',
      `${MIXED}a\n\n--a\n${MIXED}ab\n\n--ab\n\none\n--ab--\n--a\n\ntwo\n--a--\n`,
      ['2 text/plain "one"', '1 text/plain "two"'],
    ],
    [
      'a missing end: the outer boundary ends the inner multipart',
      `${MIXED}o\n\n--o\n${MIXED}i\n\n--i\n\none\n--o\n\ntwo\n--i\nnot a part\n`,
      ['2 text/plain "one"', '1 text/plain "two\\r\\n--i\\r\\nnot a part\\r\\n"'],
    ],
    ['an end that never comes', `${MIXED}b\n\n--b\n\none\n`, ['1 text/plain "one\\r\\n"']],
    ['blanks behind a boundary', `${MIXED}"b "\n\n--b \t\n\none\n--b--  \n`, ['1 text/plain "one"']],
    [
      'parts without a header, without anything',
      `${MIXED}b\n\n--b\n--b\n\n--b--\n`,
      ['1 text/plain ""', '1 text/plain ""'],
    ],
    [
      'a message in a message',
      `${MIXED}b\n\n--b\nContent-Type: message/rfc822\n\nFrom: c\n${MIXED}i\n\n--i\n\ndeep\n--i--\n--b\n\nlast\n--b--\n`,
      ['3 text/plain "deep"', '1 text/plain "last"'],
    ],
    ['a multipart without a boundary', 'Content-Type: multipart/mixed\n\nhi\n', ['0 multipart/mixed "hi\\r\\n"']],
    [
      'the same boundary inside',
      `${MIXED}b\n\n--b\n${MIXED}b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n`,
      ['2 text/plain "one"', '1 text/plain "two"'],
    ],
    [
      'a line that is no field ends a header',
      `Content-Type: text/html\nno field\nContent-Type: text/x\n\n`,
      ['0 text/html "no field\\r\\nContent-Type: text/x\\r\\n\\r\\n"'],
    ],
  ];
  for (const [name, text, want] of cases) test(name, () => assert.deepEqual(partsOf(text), want));

  test('Shows 3: 37: a second Content-Type is a fault, and the names of both are known', () => {
    const text = 'Content-Type: text/plain; name=a.txt\nContent-Type: application/x; name=b.exe\n\nhi\n';
    assert.deepEqual(faultsOf(text), ['ambiguous']);
    assert.deepEqual(walk(Buffer.from(text), LIMITS).parts[0]?.names, ['a.txt', 'b.exe']);
  });
});

test('names are known as they stand, joined and decoded', () => {
  const names = (field: string): string[] => {
    const { all } = parameters(field);
    return readWords(['filename', 'name'].flatMap((key) => all.get(key) ?? []));
  };
  assert.deepEqual(names('attachment; filename="a;\\"b.exe"'), ['a;"b.exe']);
  assert.deepEqual(names("attachment; filename*=utf-8'en'%e2%82%ac%20rates.exe"), ['€ rates.exe']);
  assert.deepEqual(names("attachment; filename*1*=%2eexe; filename*0*=iso-8859-1''na%efve; FILENAME=x.txt"), [
    'naïve.exe',
    'x.txt',
  ]);
  // Readers differ in which they take.
  assert.deepEqual(names('attachment; filename=a.txt; filename="b.exe"'), ['a.txt', 'b.exe']);
  assert.deepEqual(names("attachment; filename*=''b.exe; filename*=''a.txt; filename=c.js").sort(), [
    'a.txt',
    'b.exe',
    'c.js',
  ]);
  assert.deepEqual(names('attachment; filename*0="in"; filename*1="voice.js"'), ['invoice.js']);
  assert.deepEqual(names('x/y; name="=?utf-8?B?aW52b2ljZS5leGU=?="'), ['=?utf-8?B?aW52b2ljZS5leGU=?=', 'invoice.exe']);
  assert.deepEqual(names('x/y; name="=?utf-8?q?in?= =?utf-8?q?voice=2Eexe?="').at(-1), 'invoice.exe');
  assert.deepEqual(names('x/y; name=gr\xc3\xbcn.txt'), ['grün.txt']);
});

test('Shows 3: 38: encoded words in encoded words are decoded once', () => {
  const inner = '=?utf-8?q?x?=';
  assert.equal(decodedWords(`=?utf-8?b?${Buffer.from(inner).toString('base64')}?=`), inner);
  assert.equal(decodedWords('=?unknown-1?q?caf=E9?='), 'café', 'an unknown charset is read as latin1');
});

test('text and links of HTML', () => {
  const { text, links } = readHtml(
    '<!-- no --><title>no</title><style>no { }</style><p class="x" title=\'>\'>Hel<b>lo</b>&nbsp;&amp;&#x41;</p>' +
      '<a HREF="http://a.example/?x&amp;y">go</a><img src=//b.example/i.png><a href=\'http://c.\n example/\'>2 < 3</a>' +
      '<script>var a = "<a href=http://no.example/>";</SCRIPT >end',
    100,
  );
  assert.equal(text.replace(/\s+/g, ' ').trim(), 'Hello &A go 2 < 3 end');
  assert.deepEqual(links, ['http://a.example/?x&y', '//b.example/i.png', 'http://c. example/']);
});

test('comments and named entities of HTML are read as browsers read them', () => {
  const read = (html: string) => readHtml(html, 100);
  for (const comment of ['<!-->', '<!--->', '<!---->', '<!-- x --!>', '<!-- x ---->', '<!-- <!-- -->'])
    assert.equal(read(`${comment}seen`).text, 'seen', comment);
  assert.equal(read('<!-- -- > -!> -> no').text, '');
  const { links } = read('<a href="ht&Tab;tp&colon;&sol;&sol;a&period;exa&NewLine;mple/?b&period=c">');
  assert.deepEqual(links, ['http://a.example/?b&period=c']);
});

test('text is what people see, in whatever encoding and charset it comes', () => {
  const look = (header: string, body: Buffer | string) =>
    inspect(Buffer.concat([Buffer.from(`${header}\r\n\r\n`), Buffer.from(body as string)]), LIMITS, false).text.trim();
  assert.equal(look('Content-Type: text/plain; charset=iso-8859-1', Buffer.from('caf\xe9', 'latin1')), 'café');
  assert.equal(look('Content-Transfer-Encoding: base64', Buffer.from('hello').toString('base64')), 'hello');
  assert.equal(look('Content-Transfer-Encoding: Quoted-Printable', 'a=\r\nb=3D= \r\nc=zz='), 'ab=c=zz=');
  assert.equal(look('Content-Type: text/plain; charset=koi8-r', Buffer.from([0xf0, 0xf2])), 'ПР');
  assert.equal(look('Content-Type: text/plain; charset=none-such', 'plain'), 'plain');
});

test('addresses are found behind as much text as is kept', () => {
  const long = 'x '.repeat(150 * 1024);
  const part = (type: string, body: string) => `--b\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`;
  const text = `${MIXED}b\r\n\r\n${part('text/plain', long)}${part('text/html', '<a href="http://a.example/">')}--b--\r\n`;
  const { urls, text: kept } = inspect(Buffer.from(text), LIMITS, false);
  assert.deepEqual(urls, ['http://a.example/']);
  assert.ok(kept.length <= 256 * 1024 + 1);
});

test('addresses are found in text and in links, each once', () => {
  const html =
    '<a href="https://a.example/x">https://a.example/x</a> mailto:x (see www.b.example/y), <a href="mailto:c">';
  const { urls } = inspect(Buffer.from(`Content-Type: text/html\r\n\r\n${html}`), LIMITS, false);
  assert.deepEqual(urls, ['https://a.example/x', 'www.b.example/y']);
});
