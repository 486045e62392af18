import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Class, classes } from '../../../src/policy/classes.ts';
import { refusal, reply } from '../../../src/smtp/reply.ts';

const id = '0ABCDEFGHJKMNPQR';
const names = Object.keys(classes) as Class[];
/** as long as gateway.help_url may be */
const longUrl = `https://${'m'.repeat(120)}`;

for (const [how, url] of [
  ['short', 'https://x.example/'],
  ['as long as allowed', longUrl],
] as const) {
  test(`every refusal fits a line and keeps its id and URL, with a help URL ${how}`, () => {
    for (const name of names) {
      for (const as of [undefined, 'defer', 'reject'] as const) {
        const { bytes, code, class: of, close } = refusal(name, id, url, as && { as });
        const line = bytes.toString('latin1');
        assert.ok(bytes.length <= 512, `${name}: ${bytes.length} octets (RFC 5321 section 4.5.3.1.5)`);
        const match = /^(\d{3}) (\d)\.(\d\.\d{1,3}) ([\x20-\x7e]+) \[(\S+) id=(\S+) (\S+)\]\r\n$/.exec(line);
        assert.ok(match, line);
        assert.deepEqual(
          match.slice(1),
          [String(code), String(code)[0], classes[name].detail, classes[name].text, name, id, url + name],
          line,
        );
        assert.equal(of, name);
        assert.equal(close, code === 421 ? true : undefined, `${name}: 421 and only 421 closes`);
      }
    }
  });
}

test('configuration overrules the severity of a class', () => {
  assert.equal(refusal('spam.gtube', id, longUrl, { as: 'defer' }).code, 451);
  assert.equal(refusal('error.filter', id, longUrl, { as: 'reject' }).code, 554);
  assert.equal(refusal('spam.gtube', id, longUrl, { as: 'reject' }).code, 550);
  assert.equal(refusal('error.filter', id, longUrl, { as: 'defer' }).code, 451);
});

test('a refusal can close the connection whatever its code', () => {
  assert.equal(refusal('protocol.bdat', id, longUrl, { close: true }).close, true);
});

test('a text that is too long is cut, never the id and the URL', () => {
  const url = `https://${'m'.repeat(390)}/`;
  const line = refusal('upstream.none-yet', id, url).bytes.toString('latin1');
  assert.equal(line.length, 512);
  assert.ok(line.endsWith(` [upstream.none-yet id=${id} ${url}upstream.none-yet]\r\n`), line);
});

test('a reply of several lines marks all but the last with a hyphen', () => {
  assert.equal(reply(250, 'gw', 'SIZE 1', 'DSN').bytes.toString(), '250-gw\r\n250-SIZE 1\r\n250 DSN\r\n');
  assert.equal(reply(354, 'go on').bytes.toString(), '354 go on\r\n');
});

test('each line of a reply has at most 512 octets with its CRLF', () => {
  const lines = reply(250, 'a'.repeat(600), 'b'.repeat(507)).bytes.toString().split('\r\n');
  assert.deepEqual(
    lines.map((line) => line.length),
    [510, 510, 0],
  );
});
