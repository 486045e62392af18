import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressSet, decideTls, tlsRules } from '../../../src/policy/require.ts';

test('all, a domain, an address; in any case, quoted, with a route, in either spelling of a domain', () => {
  const wire = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
  for (const [words, path, expected] of [
    [['*'], '<>', true],
    [['*'], '<a@b.example>', true],
    [[], '<a@b.example>', false],
    [['b.example'], '<A@B.Example>', true],
    [['B.example'], '<a@b.example>', true],
    [['b.example'], '<a@c.b.example>', false],
    [['b.example'], '<b.example>', false],
    [['b.example'], '<>', false],
    [['b.example'], '<"x@y"@b.example>', true],
    [['b.example'], '<"@b.example"@c.example>', false],
    [['b.example'], '<@b.example:a@c.example>', false],
    [['c.example'], '<@b.example:a@c.example>', true],
    [['a@b.example'], '<a@b.example>', true],
    [['A@b.example'], '<a@B.example>', true],
    [['a@b.example'], '<b@b.example>', false],
    [['a@b.example'], '<@r.example:a@b.example>', true],
    [['xn--mnchen-3ya.example'], wire('<ü@münchen.example>'), true],
    [['xn--mnchen-3ya.example'], wire('<ü@MÜNCHEN.example>'), true],
    [['xn--mnchen-3ya.example'], '<a@xn--mnchen-3ya.example>', true],
    [['b.example'], '<a@b\xff.example>', false],
  ] as const)
    assert.equal(new AddressSet(words).has(path), expected, `${words.join()} ${path}`);
});

const of = (from: readonly string[], to: readonly string[]) => tlsRules(from, to);
const mail = { from: '<a@a.example>', to: '<b@b.example>', isEncrypted: false };

test('a sender for whom TLS is required, over each leg and in each mode', () => {
  const rules = of(['a.example'], []);
  assert.equal(decideTls(rules, mail, 'none', 'enforce').verdict.class, 'tls.required');
  assert.equal(decideTls(rules, mail, 'none', 'enforce').verdict.kind, 'defer');
  assert.equal(decideTls(rules, { ...mail, isEncrypted: true }, 'none', 'enforce').verdict.kind, 'accept');
  const observed = decideTls(rules, mail, 'none', 'observe');
  assert.deepEqual([observed.verdict.kind, observed.wouldBe], ['accept', 'tls.required']);
});

test('a recipient for whom TLS is required joins only those whose mail goes over TLS', () => {
  const rules = of([], ['b.example']);
  for (const [begun, kind] of [
    ['none', 'accept'],
    ['with-tls', 'accept'],
    ['without', 'defer'],
  ] as const)
    for (const mode of ['enforce', 'observe'])
      assert.equal(decideTls(rules, mail, begun, mode).verdict.kind, kind, `${begun} ${mode}`);
  assert.equal(decideTls(rules, { ...mail, to: '<b@c.example>' }, 'without', 'enforce').verdict.kind, 'accept');
});
