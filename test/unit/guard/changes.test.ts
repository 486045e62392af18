import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changes, type Step } from '../../../src/guard/changes.ts';
import type { KernelFamily, KernelState } from '../../../src/guard/kernel-text.ts';
import { Spelling } from '../../../src/guard/spelling.ts';
import { emptyKernel, kernelWith, oneNetwork, planOf, withChain, withSets } from './kernel.fake.ts';

const customers = oneNetwork('customers', ['198.51.100.0/24', '2001:db8:1::/48']);
const desired = await planOf(customers);
const there = kernelWith(desired);

const difference = (kernel: KernelState, plan = desired): Step[] => changes(plan, kernel, new Spelling());
const only = (steps: readonly Step[]): Exclude<Step, { kind: 'sysctl' }> => {
  assert.equal(steps.length, 1, JSON.stringify(steps, undefined, 1));
  const [step] = steps;
  if (!step || step.kind === 'sysctl') throw new Error('a sysctl');
  return step;
};
const withFamily = (kernel: KernelState, family: 4 | 6, change: Partial<KernelFamily>): KernelState => ({
  ...kernel,
  families: new Map([...kernel.families, [family, { ...(kernel.families.get(family) as KernelFamily), ...change }]]),
});

test('a kernel that is as planned needs nothing', () => assert.deepEqual(difference(there), []));

test('an empty kernel gets everything, fences before what passes them and forwarding last', () => {
  const steps = difference(emptyKernel);
  assert.deepEqual(
    steps.map((step) => (step.kind === 'sysctl' ? step.key : step.kind)),
    [
      'net/ipv4/tcp_early_demux',
      ...['routing', 'routing', 'sets', 'tables', 'tables'],
      ...['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'],
    ],
  );
});

test('a kernel without IPv6 gets IPv4 alone', () => {
  const kernel = { ...emptyKernel, families: new Map([...emptyKernel.families].filter(([family]) => family === 4)) };
  const steps = difference({
    ...kernel,
    sysctls: new Map([...kernel.sysctls].filter(([key]) => !key.includes('ipv6'))),
  });
  assert.ok(!JSON.stringify(steps.map(({ because }) => because)).includes('ipv6'));
  assert.equal(steps.filter(({ kind }) => kind === 'tables').length, 1);
});

test('only the chain that differs is made anew, so that the counters of the others go on', () => {
  const { text, because } = only(difference(withChain(there, [4, 'filter', 'POSTERN-FORWARD'], () => [])));
  assert.deepEqual(because, ['ipv4 filter POSTERN-FORWARD']);
  assert.deepEqual(
    [...text.matchAll(/^:(\S+)/gm)].map(([, name]) => name),
    ['POSTERN-FORWARD'],
  );
  assert.ok(!text.includes('-I '));
});

test('a rule added, taken away, changed or moved in a chain of ours is found', () => {
  const place = [6, 'mangle', 'POSTERN-MAIL'] as const;
  for (const change of [
    (rules: readonly string[]) => ['-j ACCEPT', ...rules],
    (rules: readonly string[]) => rules.slice(1),
    (rules: readonly string[]) => rules.map((rule, i) => (i === 0 ? rule.replace('0x2', '0x3') : rule)),
    (rules: readonly string[]) => rules.toReversed(),
    () => undefined,
  ]) {
    assert.deepEqual(only(difference(withChain(there, place, change))).because, ['ipv6 mangle POSTERN-MAIL']);
  }
});

test('a jump that is not first, not there, doubled or changed is put right; the rules of others are not named', () => {
  const foreign = '-p tcp -m tcp --dport 80 -j ACCEPT';
  const jump = '-p tcp -m tcp --dport 25 -j POSTERN-FORWARD';
  const cases: readonly [readonly string[], number][] = [
    [[foreign, jump], 1],
    [[foreign], 0],
    [[jump, foreign, jump], 2],
    [['-p tcp -j POSTERN-FORWARD', foreign], 1],
  ];
  for (const [rules, removed] of cases) {
    const { text } = only(difference(withChain(there, [4, 'filter', 'FORWARD'], () => rules)));
    assert.equal([...text.matchAll(/^-D FORWARD /gm)].length, removed, text);
    assert.match(text, /^-I FORWARD 1 -p tcp -m tcp --dport 25 -j POSTERN-FORWARD$/m);
    assert.doesNotMatch(text, /dport 80/);
  }
  assert.deepEqual(difference(withChain(there, [4, 'filter', 'FORWARD'], () => [jump, foreign])), []);
});

test('several jumps of one chain: all of them first and in their order, else all are put anew', async () => {
  const plan = await planOf(oneNetwork('customers', ['198.51.100.0/24'], 'egress = "preserve"'));
  const kernel = kernelWith(plan);
  const prerouting = [4, 'mangle', 'PREROUTING'] as const;
  assert.deepEqual(difference(kernel, plan), []);
  for (const change of [
    (jumps: readonly string[]) => jumps.toReversed(),
    (jumps: readonly string[]) => jumps.toSpliced(1, 0, '-j ACCEPT'),
    (jumps: readonly string[]) => jumps.slice(0, 1),
  ]) {
    const { text } = only(difference(withChain(kernel, prerouting, change), plan));
    assert.deepEqual(
      [...text.matchAll(/^-I PREROUTING (\d) -p (\w+)/gm)].map(([, at, protocol]) => [at, protocol]),
      [
        ['1', 'tcp'],
        ['2', 'icmp'],
      ],
    );
  }
});

test('a foreign chain that leads into one of ours is freed of it', () => {
  const { text } = only(
    difference(withChain(there, [4, 'filter', 'ADMIN'], () => ['-j POSTERN-FORWARD', '-j RETURN'])),
  );
  assert.equal(text, '*filter\n-D ADMIN -j POSTERN-FORWARD\nCOMMIT\n');
});

test('a chain of a network that is gone is emptied and deleted after nothing leads to it', () => {
  const { text } = only(difference(withChain(there, [4, 'mangle', 'POSTERN-N-gone'], () => ['-j ACCEPT'])));
  assert.equal(text, '*mangle\n-F POSTERN-N-gone\n-X POSTERN-N-gone\nCOMMIT\n');
});

test('a prefix that moves is in both networks until the rules are in force', async () => {
  const before = await planOf(
    oneNetwork('a', ['192.0.2.0/25', '198.51.100.0/25']) + oneNetwork('b', ['192.0.2.128/25']),
  );
  const after = await planOf(
    oneNetwork('a', ['192.0.2.0/25']) + oneNetwork('b', ['192.0.2.128/25', '198.51.100.0/25'], 'mode = "block"'),
  );
  const steps = difference(kernelWith(before), after);
  assert.deepEqual(
    steps.map((step) => (step.kind === 'sets' ? step.text : step.kind)),
    ['add postern-net-b-4 198.51.100.0/25 -exist\n', 'tables', 'del postern-net-a-4 198.51.100.0/25 -exist\n'],
  );
});

test('sets: what is missing is made, what is not planned goes last, other options are swapped in', () => {
  const missing = only(difference(withSets(there, { 'postern-locked-4': undefined })));
  assert.match(missing.text, /^create postern-locked-4 hash:net family inet maxelem 1048576 timeout 0\n$/);
  const gone = only(difference(withSets(there, { 'postern-net-gone-4': { type: 'x', members: {} } })));
  assert.equal(gone.text, 'destroy postern-net-gone-4\n');
  const { text } = only(
    difference(withSets(there, { 'postern-net-customers-4': { type: 'hash:net family inet maxelem 5', members: {} } })),
  );
  assert.match(
    text,
    /^create (postern-next-\w+) .*\nadd \1 198\.51\.100\.0\/24\nswap \1 postern-net-customers-4\ndestroy \1\n$/,
  );
});

test('members that come and go while we run are none of the plan’s', () => {
  const kernel = withSets(there, {
    'postern-locked-4': { members: { '198.51.100.9': { timeoutS: 5 } } },
    'postern-alive': { members: { 25: { timeoutS: 2 } } },
  });
  assert.deepEqual(difference(kernel), []);
});

test('a single address is the same with and without its length', async () => {
  const plan = await planOf(oneNetwork('one', ['192.0.2.7/32', '2001:db8::7/128']));
  const kernel = withSets(kernelWith(plan), {
    'postern-net-one-4': { members: { '192.0.2.7': {} } },
    'postern-net-one-6': { members: { '2001:db8::7': {} } },
  });
  assert.deepEqual(difference(kernel, plan), []);
});

test('routing rules and routes: what is missing comes first, what is not planned goes last', () => {
  const { rules } = there.families.get(4) as KernelFamily;
  const fence = rules.find((rule) => rule.includes('prohibit')) ?? '';
  const without = only(difference(withFamily(there, 4, { rules: rules.filter((rule) => rule !== fence) })));
  assert.equal(without.text, `rule add ${fence} protocol 25\n`);
  const more = only(
    difference(withFamily(there, 4, { rules: [...rules, 'pref 30 iif lan9 ipproto tcp dport 25 prohibit'] })),
  );
  assert.equal(more.text, 'rule del pref 30 iif lan9 ipproto tcp dport 25 prohibit protocol 25\n');
  const route = only(difference(withFamily(there, 6, { routes: [] })));
  assert.equal(route.text, 'route replace local default dev lo src ::1 table 25252 protocol 25\n');
});

test('how another release of iptables spells a rule is learned right after it was given, and no other change is', () => {
  const spelling = new Spelling();
  const given = ['-p tcp -j REJECT', '-j ACCEPT'];
  const printed = ['-p 6 -j REJECT', '-j ACCEPT'];
  spelling.learn('place', given, printed);
  assert.ok(spelling.same('place', given, printed));
  assert.ok(!spelling.same('place', given, ['-p 6 -j ACCEPT', '-j ACCEPT']));
  assert.ok(!spelling.same('elsewhere', given, printed));
  assert.ok(!spelling.same('place', ['-p udp -j REJECT', '-j ACCEPT'], printed));
  spelling.learn('short', given, ['-j ACCEPT']);
  assert.ok(!spelling.same('short', given, ['-j ACCEPT']), 'a rule that is missing is no spelling');
});
