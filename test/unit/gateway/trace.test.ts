import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoop, receivedLine } from '../../../src/gateway/trace.ts';
import { readable } from '../../../src/gateway/work.ts';

const facts = {
  gatewayName: 'gw1.example.net',
  arrival: { source: '198.51.100.10', sourcePort: 1, destination: '203.0.113.25', destinationPort: 25 },
  helo: 'a.example',
  protocol: 'ESMTP',
  id: 'ID',
  soleRecipient: '<b@b.example>',
  nowMs: Date.UTC(2026, 10, 23, 10, 0, 0),
} as const;

test('a Received line', () => {
  assert.equal(
    receivedLine(facts).toString('latin1'),
    'Received: from a.example ([198.51.100.10])\r\n\tby gw1.example.net (Postern) with ESMTP id ID\r\n\tfor <b@b.example>;\r\n\tMon, 23 Nov 2026 10:00:00 +0000\r\n',
  );
});

test('IPv6 and several recipients', () => {
  const text = receivedLine({
    ...facts,
    arrival: { ...facts.arrival, source: '2001:db8::1' },
    soleRecipient: undefined,
  });
  assert.match(text.toString(), /\(\[IPv6:2001:db8::1\]\)/);
  assert.doesNotMatch(text.toString(), /\bfor\b/);
});

test('what a host says cannot forge a line, a comment or a second field', () => {
  for (const helo of ['a\r\nBcc: x', 'a (by gw1.example.net (Postern))', 'a;b', 'x'.repeat(2000), 'a\0b', '\xff']) {
    const text = receivedLine({ ...facts, helo }).toString('latin1');
    assert.equal(text.split('\r\n').length, 5, JSON.stringify(helo));
    const [first = ''] = text.split('\r\n');
    assert.match(first, /^Received: from [A-Za-z0-9.:[\]_?-]+ \(\[198\.51\.100\.10\]\)$/);
    assert.ok(first.length < 600);
  }
});

test('a loop: too many Received, or our own line twice', () => {
  const own = { name: 'received', value: 'from x by gw1.example.net (Postern) with SMTP id 1' };
  const other = { name: 'received', value: 'from x by y' };
  assert.equal(isLoop([own, other, { name: 'subject', value: own.value }], 'gw1.example.net', 50), false);
  assert.equal(isLoop([own, other, own], 'gw1.example.net', 50), true);
  assert.equal(
    isLoop(
      Array.from({ length: 50 }, () => other),
      'gw1.example.net',
      50,
    ),
    false,
  );
  assert.equal(
    isLoop(
      Array.from({ length: 51 }, () => other),
      'gw1.example.net',
      50,
    ),
    true,
  );
});

test('octets that are UTF-8 are recorded as people write them, others as they came', () => {
  assert.equal(readable('<j\xc3\xbcrgen@m\xc3\xbcller.example>'), '<jürgen@müller.example>');
  assert.equal(readable('<j\xfcrgen@a.example>'), '<j\xfcrgen@a.example>');
  assert.equal(readable('<a@a.example>'), '<a@a.example>');
});
