/** TLSA records against what a server has shown (RFC 7672): by usage, selector and matching type; what cannot be checked; what differs. */
import assert from 'node:assert/strict';
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { issueCertificate, newKey, toPem } from '../../../src/kit/x509.ts';
import { checkDane } from '../../../src/relay/dane.ts';

const NOW_MS = Date.UTC(2026, 10, 25);
const DAY_MS = 86_400_000;
const SPAN = { notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + DAY_MS };
const OVER = { notBeforeMs: NOW_MS - 2 * DAY_MS, notAfterMs: NOW_MS - DAY_MS };

const [rootKey, leafKey] = [newKey(), newKey()];
const signer = { name: 'root', key: rootKey };
const root = new X509Certificate(
  toPem(issueCertificate({ name: 'root', kind: 'root', publicKey: createPublicKey(rootKey), ...SPAN }, signer)),
);
const leafOf = (span: typeof SPAN, by = signer): X509Certificate => {
  const facts = { name: 'mx', names: ['mx.example.org'], publicKey: createPublicKey(leafKey), kind: 'server' } as const;
  return new X509Certificate(toPem(issueCertificate({ ...facts, ...span }, by)));
};
const leaf = leafOf(SPAN);

function record(usage: number, selector: 0 | 1, matching: 0 | 1 | 2, of: X509Certificate): string {
  const what = selector === 0 ? of.raw : of.publicKey.export({ type: 'spki', format: 'der' });
  const data =
    matching === 0
      ? what
      : createHash(matching === 1 ? 'sha256' : 'sha512')
          .update(what)
          .digest();
  return `${usage} ${selector} ${matching} ${data.toString('hex')}`;
}
const check = (records: readonly string[], chain: readonly X509Certificate[], name = 'mx.example.org'): string =>
  checkDane(records, { chain, problem: undefined }, [name], NOW_MS);

for (const selector of [0, 1] as const) {
  for (const matching of [0, 1, 2] as const) {
    test(`3 ${selector} ${matching}: the server's own, whatever its name and dates`, () => {
      assert.equal(check([record(3, selector, matching, leaf)], [leaf], 'other.example.org'), 'matches');
      const ended = leafOf(OVER);
      assert.equal(check([record(3, selector, matching, ended)], [ended]), 'matches');
      assert.equal(check([record(3, selector, matching, root)], [leaf, root]), 'differs');
    });
    test(`2 ${selector} ${matching}: an authority above it, with name and dates`, () => {
      const tlsa = [record(2, selector, matching, root)];
      assert.equal(check(tlsa, [leaf, root]), 'matches');
      assert.equal(check(tlsa, [leaf, root], 'other.example.org'), 'differs');
      assert.equal(check(tlsa, [leafOf(OVER), root]), 'differs');
      const forged = leafOf(SPAN, { name: 'root', key: newKey() });
      assert.equal(check(tlsa, [forged, root]), 'differs', 'another key has signed it');
      // Whole in the record, it need not be shown.
      assert.equal(check(tlsa, [leaf]), selector === 0 && matching === 0 ? 'matches' : 'differs');
    });
  }
}

test('one of several is enough; PKIX usages, unknown numbers and cut digests are nothing that can be checked', () => {
  const good = record(3, 1, 1, leaf);
  assert.equal(check([record(3, 1, 1, root), 'x', good], [leaf]), 'matches');
  const useless = [record(0, 0, 1, leaf), record(1, 1, 1, leaf), '3 2 1 00', '3 1 9 00', good.slice(0, -2), '3 1 0 '];
  assert.equal(check(useless, [leaf]), 'unusable');
  assert.equal(check([good], []), 'differs');
});
