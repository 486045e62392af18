import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { chooseSignatures } from '../../../src/filter/signatures.ts';
import { count, seed } from '../../kit/tier.ts';

const chosen = (text: string, withBody = true): { readonly text: string; readonly left: readonly string[] } => {
  const { pieces, left } = chooseSignatures(Buffer.from(text, 'latin1'), withBody);
  return { text: Buffer.concat(pieces).toString('latin1'), left };
};
const sig = (tags: string): string => `DKIM-Signature: v=1; ${tags}\r\n`;
const REST = 'From: a@a.example\r\n\r\nDKIM-Signature: in the body; l=1\r\n';

test('a message without a signature, or with good ones, is left as it is', () => {
  for (const text of [REST, sig('a=rsa-sha256; c=relaxed/relaxed') + REST, 'no header at all', '', '\r\nbody', ':\r\n'])
    assert.deepEqual(chosen(text), { text, left: [] });
});

test('a length is seen however it is written', () => {
  for (const tags of ['l=0', 'a=b;l=1', 'a=b;\r\n\tl = 5 ;', 'a=b; L=5', 'a=b;\r\n l\r\n =5'])
    assert.deepEqual(
      chosen(`X: y\r\n${sig(tags)}${REST}`),
      { text: `X: y\r\n${REST}`, left: ['a signature of a part of the body (l=)'] },
      tags,
    );
  // Within another value it is none.
  assert.deepEqual(chosen(sig('b=xl=5; h=l') + REST).left, []);
});

test('the first eight stay, from the top', () => {
  const all = Array.from({ length: 12 }, (_, i) => sig(`a=rsa-sha256; s=${i}`));
  const { text, left } = chosen(all.join('') + REST);
  assert.equal(text, all.slice(0, 8).join('') + REST);
  assert.deepEqual(left, ['more than 8 signatures']);
});

test('what is hashed in all is bounded: the body times the ways of hashing it', () => {
  const body = 'x'.repeat(6 * 2 ** 20);
  const ways = ['relaxed/simple', 'relaxed/relaxed', 'simple'].map((c) => sig(`a=rsa-sha256; c=${c}`));
  const both = [...ways, sig('a=rsa-sha1; c=simple/relaxed')];
  const { text, left } = chosen(both.join('') + REST + body);
  assert.equal(text.indexOf('From:'), ways.join('').length, 'simple/simple is one of the ways already');
  assert.deepEqual(left, ['more to be hashed than is hashed']);
});

test('without a body no signature of either kind stays', () => {
  const arc = 'ARC-Seal: i=1\r\nARC-Message-Signature: i=1; l=1\r\nARC-Authentication-Results: i=1\r\n';
  assert.deepEqual(chosen(arc + sig('a=b') + REST, false), { text: REST, left: ['a body that is too large'] });
});

test('of a header that is too long the author stays', () => {
  const wide = chosen(`From: a@a.example\r\n${'X: y\r\n'.repeat(2000)}From: b@b.example\r\n${REST}`);
  assert.deepEqual(wide, { text: 'From: a@a.example\r\n\r\n', left: ['a header that is too long'] });
  const long = chosen(`X: ${'y\r\n z'.repeat(100_000)}\r\n${REST}`);
  assert.deepEqual(long.left, ['a header that is too long']);
});

test('whatever a header is made of: nothing is added, and no signature stays that has a length', () => {
  const name = fc.constantFrom('DKIM-Signature:', 'dkim-SIGNATURE :', 'ARC-Message-Signature:', 'From:', '', '.:');
  const word = fc.constantFrom('l', 'L', 'b', ' ', '\t', '\r\n ', '\r\n\t', '=', '5', ':', '\xff', '\0');
  const tag = fc.array(word, { maxLength: 6 }).map((some) => some.join(''));
  const field = fc.tuple(name, fc.array(tag, { maxLength: 5 })).map(([begin, tags]) => `${begin}${tags.join(';')}`);
  const texts = fc.array(field, { maxLength: 12 }).map((fields) => `${fields.join('\r\n')}\r\n`);
  fc.assert(
    fc.property(texts, fc.boolean(), (text, withBody) => {
      const all = Buffer.from(text, 'latin1');
      const { pieces, left } = chooseSignatures(all, withBody);
      const kept = Buffer.concat(pieces);
      // Each piece is a part of the message, in its order.
      let from = 0;
      for (const piece of pieces) {
        const at = all.indexOf(piece, from);
        assert.ok(at >= from || piece.length === 0);
        from = at + piece.length;
      }
      if (left.length === 0) assert.deepEqual(kept, all);
      const [header = ''] = kept.toString('latin1').split(/^\r?\n/m, 1);
      for (const [, value = ''] of header.matchAll(
        /^(?:dkim-signature|arc-message-signature)[ \t]*:((?:.|\n[ \t])*)/gim,
      ))
        assert.doesNotMatch(`;${value}`.replace(/\s+/g, ''), /;l=/i);
    }),
    { seed, numRuns: count(2000, 100_000) },
  );
});
