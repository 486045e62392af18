/** No class without a fixture, and no reason of the trade without an answer. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Class, classes, isClass } from '../../../src/policy/classes.ts';

const top = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(top, path), 'utf8');

/** Classes whose fixture cannot be a dialog, each with the test that holds reply, row and metric to the table. */
const ELSEWHERE: Partial<Record<Class, string>> = {
  'auth.spf': 'test/filter/auth.test.ts',
  'auth.dkim': 'test/filter/auth.test.ts',
  'auth.dmarc-reject': 'test/filter/auth.test.ts',
  'auth.dmarc-quarantine': 'test/filter/auth.test.ts',
  'auth.author': 'test/filter/auth.test.ts',
  'auth.unknown': 'test/filter/auth.test.ts',
  'tls.client-refused': 'test/unit/gateway/tls.test.ts',
  'tls.opaque': 'test/unit/gateway/passage.test.ts',
  'tls.verifying': 'test/unit/gateway/passage.test.ts',
  'tls.clear': 'test/unit/gateway/passage.test.ts',
  'limit.opaque': 'test/unit/gateway/passage.test.ts',
  'upstream.dane': 'test/unit/gateway/verified.test.ts',
  'upstream.mta-sts': 'test/unit/gateway/verified.test.ts',
  'upstream.dns': 'test/unit/gateway/verified.test.ts',
  'behaviour.early': 'test/unit/filter/behaviour.test.ts',
  'spam.campaign': 'test/unit/filter/behaviour.test.ts',
  'spam.url': 'test/unit/filter/urls.test.ts',
};

/** Said to one recipient of a message that goes on without it, or between two messages, so that none ends in it. */
const TOLD_ONLY: readonly Class[] = ['limit.recipients', 'limit.session', 'sender.bounce'];

test('every class has a fixture: a dialog that ends in it, or a test that is named here', () => {
  const shown = new Set<string>();
  for (const path of globSync('test/dialog/{normal,host,server,ours}/*.dialog', { cwd: top })) {
    const text = read(path);
    for (const [, of = ''] of text.matchAll(/^= \w+ (\S+)$/gm)) shown.add(of);
    for (const of of TOLD_ONLY) if (text.includes(`[${of} id=*`)) shown.add(of);
  }
  for (const [of, path] of Object.entries(ELSEWHERE))
    if (read(path).includes(`'${of}'`) && read(path).includes('assertRecorded(')) shown.add(of);
  const without = Object.keys(classes).filter((of) => !shown.has(of));
  assert.deepEqual(without, [], 'add test/dialog/ours/NAME.dialog with a line "= verdict class"');
  assert.deepEqual(
    [...shown].filter((of) => !isClass(of)),
    [],
    'fixtures of classes that the table does not have',
  );
});

/** How many reasons each list has: none may be lost. */
const REASONS = {
  'Put off (4xx)': 9,
  'Refused (5xx)': 34,
  'Accepted (2xx)': 3,
  'The later model': 21,
  'Outgoing, refused and never kept': 11,
  'Of our own': 6,
};

test('docs/reasons.md: each reason has its class, or says why it is not offered', () => {
  const counts: Record<string, number> = {};
  for (const section of read('docs/reasons.md').split(/^## /m).slice(1)) {
    const [heading = ''] = section.split('\n', 1);
    for (const [, reason = '', here = ''] of section.matchAll(/^\| (.+?) \| (.+) \|$/gm)) {
      if (reason === 'reason') continue;
      counts[heading] = (counts[heading] ?? 0) + 1;
      const named = [...here.matchAll(/`([a-z]+\.[a-z0-9-]+)`/g)].map(([, name = '']) => name);
      const isAnswered = /^not offered[^:]*: .{15,}/.test(here) || /^`[a-z]+\.[a-z0-9-]+`/.test(here);
      assert.ok(isAnswered, `${reason}: ${here}`);
      const unknown = named.filter((name) => !isClass(name) && !/^(?:intercept|limits|filters)\./.test(name));
      assert.deepEqual(unknown, [], `${reason}: classes that the table does not have`);
    }
  }
  assert.deepEqual(counts, REASONS);
});
