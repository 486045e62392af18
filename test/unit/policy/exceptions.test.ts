import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix, type Prefix } from '../../../src/kit/address.ts';
import { type Exception, exceptionFor, type Excused } from '../../../src/policy/exceptions.ts';

const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;
const exception = (change: Partial<Exception>): Exception => ({
  ...{ classes: ['limit'], sources: [], destinations: [], identities: [], until: undefined },
  ...change,
});
const who = (change: Partial<Excused> = {}): Excused => ({
  ...{ source: '198.51.100.7', destination: '203.0.113.25', identity: undefined },
  ...change,
});
const holds = (
  one: Exception,
  of: 'limit.messages' | 'sender.bounce' = 'limit.messages',
  by = who(),
  nowMs = 5,
): boolean => exceptionFor([one], of, by, nowMs) === one;

test('by class, source, destination and identity: what is given must fit, all of it', () => {
  assert.ok(holds(exception({ sources: [prefix('198.51.100.0/24')] })));
  assert.ok(!holds(exception({ sources: [prefix('198.51.100.0/24')] }), 'sender.bounce'));
  assert.ok(holds(exception({ classes: ['spam', 'limit.messages'], destinations: [prefix('203.0.113.25/32')] })));
  assert.ok(!holds(exception({ classes: ['limit.message'], destinations: [prefix('203.0.113.25/32')] })));
  assert.ok(!holds(exception({ sources: [prefix('198.51.100.8/32'), prefix('2001:db8::/32')] })));
  assert.ok(!holds(exception({ sources: [prefix('198.51.100.7/32')], destinations: [prefix('192.0.2.0/24')] })));
  const bob = exception({ identities: ['alice', 'bob'] });
  assert.ok(holds(bob, 'limit.messages', who({ identity: 'bob' })));
  assert.ok(!holds(bob, 'limit.messages', who({ identity: 'carol' })));
  assert.ok(!holds(bob), 'while it is not known who it is');
  assert.ok(
    holds(exception({ sources: [prefix('2001:db8:1::/48')] }), 'limit.messages', who({ source: '2001:db8:1::9' })),
  );
});

test('until its end, and not after', () => {
  const one = exception({ sources: [prefix('198.51.100.7/32')], until: 10 });
  assert.ok(holds(one, 'limit.messages', who(), 9));
  assert.ok(!holds(one, 'limit.messages', who(), 10));
});
