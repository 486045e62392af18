import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listOf, maybe, object, type Shape, text, whole } from '../../../src/kit/shape.ts';

const isPair = object<{ name: string; age: number | undefined }>({
  name: text(5),
  age: maybe(whole()) as Shape<number>,
});
const from = (json: string): unknown => JSON.parse(json);

test('exactly the keys that are known, those that may be missing or not', () => {
  assert.ok(isPair(from('{"name":"abc","age":3}')));
  assert.ok(isPair(from('{"age":3,"name":"abc"}')));
  assert.ok(isPair(from('{"name":"abc"}')));
  assert.ok(isPair({ name: 'abc', age: undefined }));
});

for (const json of [
  '{"name":"abc","age":3,"more":1}',
  '{"name":"abc","more":1}',
  '{"name":"abc","age":3,"__proto__":{}}',
  '{"name":"abc","__proto__":{"age":3}}',
  '{"name":"abc","age":3,"toString":1}',
  '{"age":3}',
  '{"name":"abc","age":null}',
  '{"name":"abcdef"}',
  '{"name":1}',
  '[]',
  'null',
  '"name"',
]) {
  test(`${json} is refused`, () => assert.equal(isPair(from(json)), false));
}

test('undefined in the place of another key makes no room for it', () => {
  assert.equal(isPair({ name: 'abc', age: undefined, more: 1 }), false);
});

test('a list is bounded, and each of its items is looked at', () => {
  const isList = listOf(whole(1, 3), 3);
  assert.ok(isList([1, 2, 3]));
  assert.ok(!isList([1, 2, 3, 1]));
  assert.ok(!isList([1, 4]));
  assert.ok(!isList({ length: 0 }));
});
