/** Records and policies of MTA-STS (RFC 8461), and how long what was learned holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAllowed, MtaSts, parsePolicy, recordId, type StsFound, type StsPolicy } from '../../../src/relay/mta-sts.ts';

const POLICY = 'version: STSv1\nmode: enforce\nmx: mx.example.org\nmx: *.example.net\nmax_age: 86400\n';

test('a record is one of its version with an id; several are none', () => {
  for (const [texts, id] of [
    [['v=STSv1; id=20261125;'], '20261125'],
    [['v=spf1 -all', 'v=STSv1;id=a1'], 'a1'],
    [['v=STSv1; id=1', 'v=STSv1; id=2'], undefined],
    [['v=STSv1'], undefined],
    [['v=STSv2; id=1'], undefined],
    [['v=STSv1; id=a-b;'], undefined],
    [[], undefined],
  ] as const)
    assert.equal(recordId(texts), id, texts.join('|'));
});

test('a policy: fields in any order, either line end, unknown ones passed over; what is not whole is none', () => {
  const found = parsePolicy(POLICY.replaceAll('\n', '\r\n'));
  assert.deepEqual(found, { mode: 'enforce', mx: ['mx.example.org', '*.example.net'], maxAgeMs: 86_400_000 });
  assert.equal(parsePolicy('max_age: 60\nextra: x\nmode: none\nversion: STSv1')?.mode, 'none');
  assert.equal(parsePolicy('version: STSv1\nmode: none\nmax_age: 9999999999')?.maxAgeMs, 31_557_600_000);
  for (const [from, to] of [
    ['STSv1', 'STSv2'],
    ['enforce', 'force'],
    ['86400', 'long'],
    ['mx: ', 'my: '],
  ] as const)
    assert.equal(parsePolicy(POLICY.replaceAll(from, to)), undefined, to);
});

test('an asterisk is one label', () => {
  const policy = parsePolicy(POLICY) as StsPolicy;
  for (const [name, isOne] of [
    ['mx.example.org', true],
    ['a.example.net', true],
    ['a.b.example.net', false],
    ['example.net', false],
    ['mx.example.com', false],
  ] as const)
    assert.equal(isAllowed(policy, name), isOne, name);
});

test('fetched once for an id; held while record or server are away; another id is another policy; a failure is not asked again at once', async () => {
  let texts: readonly string[] | undefined = ['v=STSv1; id=1'];
  let text: string | undefined = POLICY;
  let fetched = 0;
  const sts = new MtaSts({
    texts: async () => texts,
    fetch: async () => {
      fetched++;
      if (text === undefined) throw new Error('away');
      return text;
    },
  });
  const mode = async (of: MtaSts = sts): Promise<string> => {
    const found: StsFound = await of.policyOf('example.org');
    return typeof found === 'object' ? found.mode : found;
  };
  assert.deepEqual(await Promise.all([mode(), mode()]), ['enforce', 'enforce']);
  assert.equal(await mode(), 'enforce');
  assert.equal(fetched, 1);
  for (const away of [[], undefined]) {
    texts = away;
    assert.equal(await mode(), 'enforce', 'the record is away');
  }
  [texts, text] = [['v=STSv1; id=2'], undefined];
  assert.equal(await mode(), 'enforce', 'the server is away');
  text = POLICY.replace('enforce', 'testing');
  assert.equal(await mode(), 'testing');
  assert.equal(fetched, 3);

  const none = new MtaSts({ texts: async () => ['v=STSv1; id=1'], fetch: async () => (fetched++, 'garbage') });
  assert.deepEqual([await mode(none), await mode(none), fetched], ['invalid', 'invalid', 4]);
  const after = new MtaSts({ texts: async () => undefined, fetch: async () => '' }, sts);
  assert.equal(await mode(after), 'testing', 'what was learned before a reload');
});
