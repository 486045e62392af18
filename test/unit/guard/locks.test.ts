import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lockChanges } from '../../../src/guard/locks.ts';
import type { Lock } from '../../../src/ledger/language.ts';
import { emptyKernel, kernelWith, oneNetwork, planOf, withSets } from './kernel.fake.ts';

const NOW = 1_000_000_000_000;
const kernel = kernelWith(await planOf(oneNetwork('customers', ['198.51.100.0/24'])));
const lock = (subject: string, rest: Partial<Lock> = {}): Lock => ({
  ...{ subject, how: 'kernel', reason: '', who: '', since: 0, until: undefined },
  ...rest,
});

test('a lock is added, for ever or for the rest of its time, in the set of its family', () => {
  const locks = [
    lock('198.51.100.7/32'),
    lock('2001:db8:1::/64', { until: NOW + 1_500 }),
    lock('192.0.2.0/24', { until: NOW + 86_400_000 * 365 }),
  ];
  assert.deepEqual(lockChanges(locks, kernel, NOW).split('\n'), [
    'add postern-locked-4 198.51.100.7/32 timeout 0 -exist',
    // longer than ipset can count: added again before it ends
    'add postern-locked-4 192.0.2.0/24 timeout 2147483 -exist',
    'add postern-locked-6 2001:db8:1::/64 timeout 2 -exist',
    '',
  ]);
});

test('what is as it shall be is left alone; an end that was moved is set; what is no lock goes', () => {
  const members = {
    '198.51.100.7': { timeoutS: 0 },
    '198.51.100.8': { timeoutS: 99 },
    '198.51.100.9': { timeoutS: 50 },
    '198.51.100.10': { timeoutS: 50 },
  };
  const locks = [
    lock('198.51.100.7/32'),
    lock('198.51.100.8/32', { until: NOW + 100_000 }),
    lock('198.51.100.9/32', { until: NOW + 100_000 }),
  ];
  assert.equal(
    lockChanges(locks, withSets(kernel, { 'postern-locked-4': { members } }), NOW),
    'add postern-locked-4 198.51.100.9/32 timeout 100 -exist\ndel postern-locked-4 198.51.100.10/32 -exist\n',
  );
});

test('locks by reply, those that have ended and those that are no address are not for the kernel', () => {
  const locks = [
    lock('198.51.100.7/32', { how: 'reject' }),
    lock('198.51.100.8/32', { how: 'defer' }),
    lock('198.51.100.9/32', { until: NOW }),
    lock('somebody@example.net'),
  ];
  assert.equal(lockChanges(locks, kernel, NOW), '');
});

test('everybody can be locked: a /0 is given in halves', () => {
  assert.equal(
    lockChanges([lock('0.0.0.0/0')], kernel, NOW),
    'add postern-locked-4 0.0.0.0/1 timeout 0 -exist\nadd postern-locked-4 128.0.0.0/1 timeout 0 -exist\n',
  );
});

test('while a set is missing nothing is said of it', () =>
  assert.equal(lockChanges([lock('192.0.2.1/32')], emptyKernel, NOW), ''));
