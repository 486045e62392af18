/** Which sender addresses may be used, and bounces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { senderPattern } from '../../../src/config/value/mail.ts';
import { decideSender, isPermitted, type SenderPattern } from '../../../src/policy/senders.ts';

const field = senderPattern({ doc: '' });
function patterns(...texts: string[]): SenderPattern[] {
  return texts.map((text) => {
    const parsed = field.parse(text);
    assert.ok('value' in parsed, text);
    return parsed.value;
  });
}

for (const [list, path, expected] of [
  [[], '<any@where.example>', true],
  [['*@a.example'], '<x@a.example>', true],
  [['*@a.example'], '<X@A.Example>', true],
  [['*@a.example'], '<x@b.a.example>', false],
  [['*@a.example'], '<x@ba.example>', false],
  [['*@*.a.example'], '<x@b.a.example>', true],
  [['*@*.a.example'], '<x@c.b.a.example>', true],
  [['*@*.a.example'], '<x@a.example>', false],
  [['shop@a.example'], '<shop@a.example>', true],
  [['shop@a.example'], '<other@a.example>', false],
  [['shop@a.example', '*@b.example'], '<x@b.example>', true],
  [['*@a.example'], '<>', true],
  [['*@a.example'], '<x>', false],
] as const)
  test(`${list.join(', ') || 'no list'}: ${path} ${expected ? 'may' : 'may not'}`, () =>
    assert.equal(isPermitted(patterns(...list), path), expected));

for (const bad of ['', 'a', '@a.example', '*', '*@*', 'a*@a.example', '*@a', '<a@a.example>', 'a@*a.example', 7])
  test(`${JSON.stringify(bad)} is no sender`, () => assert.ok('expected' in field.parse(bad)));

test('a bounce to so many and no more; in mode "observe" it passes and is noted', () => {
  const rules = { mode: 'enforce', senders: patterns('*@a.example'), bounceRecipients: 2 };
  const of = (path: string, before: number, mode = 'enforce') => decideSender({ ...rules, mode }, path, () => before);
  assert.deepEqual([of('<>', 0), of('<>', 1), of('<x@a.example>', 99)], [undefined, undefined, undefined]);
  assert.equal(of('<>', 2)?.verdict.class, 'sender.bounce');
  assert.equal(of('<x@b.example>', 0)?.verdict.class, 'sender.not-permitted');
  const observed = of('<x@b.example>', 0, 'observe');
  assert.deepEqual([observed?.verdict.kind, observed?.wouldBe], ['accept', 'sender.not-permitted']);
});
