import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from '../../../src/guard/counters.ts';
import { emptyKernel, kernelWith, oneNetwork, planOf, withSets } from './kernel.fake.ts';

const desired = await planOf(
  `${oneNetwork('customers', ['198.51.100.0/24', '2001:db8:1::/48'])}[[exempt_to]]\nprefixes = ["192.0.2.10"]\nreason = "x"`,
);
const at = (packets: number) => kernelWith(desired, packets);
const dead = (counters: Counters, kernel = at(0)): number | undefined =>
  counters.read(kernel).refused.find(({ reason }) => reason === 'dead')?.packets;

test('every refusal is named by network and reason, over both families, with 0 too', () => {
  const { refused } = new Counters().read(at(0));
  assert.deepEqual(
    refused.map(({ network, reason, packets }) => `${network} ${reason} ${packets}`),
    [
      '- direct 0',
      '- fence 0',
      '- output 0',
      'customers dead 0',
      'customers locked 0',
      'customers rate 0',
      'unrouted unrouted 0',
    ],
  );
  assert.equal(new Counters().read(at(3)).refused.find(({ reason }) => reason === 'unrouted')?.packets, 6);
  // INPUT and FORWARD of both families
  assert.equal(new Counters().read(at(3)).refused.find(({ reason }) => reason === 'fence')?.packets, 12);
});

test('totals grow on when rules begin to count anew, and while they are gone', () => {
  const counters = new Counters();
  assert.equal(dead(counters, at(5)), 10);
  assert.equal(dead(counters, at(7)), 14);
  assert.equal(dead(counters, emptyKernel), 14);
  assert.equal(dead(counters, at(1)), 16);
  assert.equal(dead(counters, at(0)), 16);
  assert.equal(dead(counters, at(2)), 20);
});

test('a network that has left the configuration is no longer named', async () => {
  const counters = new Counters();
  counters.read(at(1));
  const other = await planOf(oneNetwork('others', ['198.51.100.0/24']));
  assert.ok(!counters.read(kernelWith(other)).refused.some(({ network }) => network === 'customers'));
});

test('exempt destinations are counted by prefix, a set that is made anew goes on', () => {
  const counters = new Counters();
  const seen = (packets: number) =>
    counters.read(withSets(at(0), { 'postern-exempt-to-4': { members: { '192.0.2.10': { packets } } } })).exemptTo;
  assert.deepEqual(seen(4), [{ prefix: '192.0.2.10/32', packets: 4 }]);
  assert.deepEqual(seen(1), [{ prefix: '192.0.2.10/32', packets: 5 }]);
});

test('the sources with most refusals come first, an IPv6 source is a /64, and there are twenty at most', () => {
  const members = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`198.51.100.${i}`, { packets: i }]));
  const kernel = withSets(at(0), {
    'postern-refused-4': { members },
    'postern-refused-6': { members: { '2001:db8:1::': { packets: 99 } } },
  });
  const { topRefused } = new Counters().read(kernel);
  assert.equal(topRefused.length, 20);
  assert.deepEqual(topRefused.slice(0, 2), [
    { source: '2001:db8:1::/64', packets: 99 },
    { source: '198.51.100.39', packets: 39 },
  ]);
});
