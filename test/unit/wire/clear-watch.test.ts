import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClearWatch } from '../../../src/wire/clear-watch.ts';

/** Host's and server's turns; true when a message has begun in clear. */
function watched(...turns: readonly (readonly ['host' | 'server', string])[]): boolean {
  const watch = new ClearWatch();
  let hasBegun = false;
  for (const [who, said] of turns) {
    const chunk = Buffer.from(said, 'latin1');
    if (who === 'host') hasBegun ||= watch.fromHost(chunk);
    else watch.fromServer(chunk);
  }
  return hasBegun;
}

test('a message that begins in clear, in any case and cut, also behind STARTTLS that was refused or not answered', () => {
  const begins = [
    [['host', 'MAIL FROM:<a@example.org>\r\n']],
    [['host', 'EHLO a\r\nmail from:<a@example.org>\n']],
    [
      ['host', 'EHLO a\r\nMA'],
      ['host', 'IL FROM:<>\r'],
      ['host', '\n'],
    ],
    [
      ['host', 'STARTTLS\r\n'],
      ['server', '454 4.7.0 not now\r\n'],
      ['host', 'MAIL FROM:<>\r\n'],
    ],
    [['host', 'STARTTLS\r\nMAIL FROM:<>\r\n']],
    [
      ['host', 'STARTTLS\r\nNOOP\r\n'],
      ['server', '220 go\r\n'],
      ['host', 'MAIL FROM:<>\r\n'],
    ],
    [['host', 'SAML FROM:<>\r\n']],
  ] as const;
  for (const turns of begins) assert.equal(watched(...turns), true, JSON.stringify(turns));
});

test('TLS after 220, other commands, and what only looks like it', () => {
  const others = [
    [
      ['host', 'EHLO a\r\n'],
      ['server', '250-b\r\n250 STARTTLS\r\n'],
      ['host', 'starttls\r\n'],
      ['server', '220 2.0.0 go\r\n'],
      ['host', '\x16\x03\x01\nMAIL FROM:<>\r\n'],
    ],
    [['host', 'EHLO MAIL\r\nMAILBOX\r\n MAIL\r\nVRFY MAIL\r\nQUIT\r\n']],
    [['host', 'MAIL FROM:<a@example.org>']],
  ] as const;
  for (const turns of others) assert.equal(watched(...turns), false, JSON.stringify(turns));
});
