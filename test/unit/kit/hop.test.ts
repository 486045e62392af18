/** Which ICMP messages are about a SYN of ours: octets as RFC 792 and RFC 4443 have them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindOf } from '../../../src/kit/hop.ts';

const ports = (from: number, to: number): Buffer => {
  const tcp = Buffer.alloc(8);
  tcp.writeUInt16BE(from, 0);
  tcp.writeUInt16BE(to, 2);
  return tcp;
};
const v4 = (type: number, options: number, tcp: Buffer): Buffer => {
  const header = (words: number): Buffer => Buffer.concat([Buffer.from([0x40 | words]), Buffer.alloc(words * 4 - 1)]);
  return Buffer.concat([header(5), Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]), header(5 + options), tcp]);
};
const v6 = (type: number, tcp: Buffer): Buffer =>
  Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(40, 0x60), tcp]);

test('time exceeded and unreachable, with IP options before the ports or not', () => {
  for (const options of [0, 3]) {
    assert.equal(kindOf(v4(11, options, ports(40_000, 25)), 4, 40_000, 25), 'passed');
    assert.equal(kindOf(v4(3, options, ports(40_000, 25)), 4, 40_000, 25), 'stopped');
  }
  assert.equal(kindOf(v6(3, ports(40_000, 25)), 6, 40_000, 25), 'passed');
  assert.equal(kindOf(v6(1, ports(40_000, 25)), 6, 40_000, 25), 'stopped');
});

test('other ports, other types and messages that are cut short are not ours', () => {
  assert.equal(kindOf(v4(11, 0, ports(40_001, 25)), 4, 40_000, 25), undefined);
  assert.equal(kindOf(v4(11, 0, ports(40_000, 587)), 4, 40_000, 25), undefined);
  assert.equal(kindOf(v4(0, 0, ports(40_000, 25)), 4, 40_000, 25), undefined);
  assert.equal(kindOf(v6(129, ports(40_000, 25)), 6, 40_000, 25), undefined);
  const whole = v4(11, 3, ports(40_000, 25));
  for (let length = 0; length < whole.length - 4; length++)
    assert.equal(kindOf(whole.subarray(0, length), 4, 40_000, 25), undefined);
});
