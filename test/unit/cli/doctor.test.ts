import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { matches, type Packet, parseChains, walk } from '../../../src/cli/doctor/foreign.ts';
import { checkConntrack } from '../../../src/cli/doctor/kernel.ts';
import { checkClock } from '../../../src/cli/doctor/machine.ts';
import { checkPaths, type Outcome, type Try } from '../../../src/cli/doctor/path.ts';
import type { Config } from '../../../src/config/schema.ts';
import { parsePrefix, type Prefix } from '../../../src/kit/address.ts';

const SERVERS = ['192.0.2.25', '2001:db8::25'];

/** So many /24 that keep their addresses, each said by a subscriber, too, and one IPv6 prefix. */
function configOf(count: number): Pick<Config, 'network' | 'subscriber'> {
  const prefixes = Array.from({ length: count }, (_, i) => parsePrefix(`10.${i >> 8}.${i & 255}.0/24`));
  const keeping = { egress: 'preserve', prefixes: [...prefixes, parsePrefix('2001:db8:1::/48')] };
  const other = { egress: 'smarthost', prefixes: [parsePrefix('198.51.100.0/24')] };
  return { network: [keeping, other], subscriber: [keeping] } as unknown as Pick<Config, 'network' | 'subscriber'>;
}

const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;

/** Answers as told, and counts what was asked, and how much of it at once. */
function fakeTry(answer: (server: string, source?: string) => Outcome) {
  const asked: (string | undefined)[] = [];
  let open = 0;
  let most = 0;
  const call: Try = async (server, source) => {
    asked.push(source);
    most = Math.max(most, ++open);
    await new Promise(setImmediate);
    open--;
    return answer(server, source);
  };
  return { call, asked, most: () => most };
}

test('each prefix is tried once with each server of its family, and this machine itself once for each server', async () => {
  const { call, asked, most } = fakeTry(() => 'connected');
  const found = await checkPaths(configOf(100), SERVERS, call);
  assert.equal(found.length, 101);
  assert.ok(found.every(({ check, state }) => check === 'path' && state === 'ok'));
  assert.equal(asked.filter((source) => source === undefined).length, 2);
  assert.equal(new Set(asked).size, 102);
  assert.ok(most() <= 8 + SERVERS.length, `${most()} connections at once`);
});

test('what was not tried when the time was over is said', async () => {
  const { call } = fakeTry(() => 'silent');
  const found = await checkPaths(configOf(100), SERVERS, call, 0);
  assert.equal(found.length, 9);
  assert.deepEqual([found.at(-1)?.state, found.at(-1)?.text], ['unknown', '93 of 101 paths were not tried']);
});

test('only silence is an asymmetric path; a refused connection has crossed in both directions', async () => {
  const stateOf = async (kept: Outcome, own: Outcome = 'connected'): Promise<string> => {
    const { call } = fakeTry((_, source) => (source === undefined ? own : kept));
    const [found] = await checkPaths(configOf(1), ['192.0.2.25'], call);
    return `${found?.state}: ${found?.text}`;
  };
  assert.match(await stateOf('silent'), /^fault: .*asymmetric path/);
  assert.match(await stateOf('refused'), /^ok: both directions between 10\.0\.0\.254 and .*, which refuses/);
  assert.match(await stateOf('refused', 'refused'), /^ok: /);
  assert.match(await stateOf('connected', 'silent'), /^ok: /);
  assert.match(await stateOf({ error: 'connect EHOSTUNREACH' }), /^fault: .* there is no way: connect EHOSTUNREACH$/);
  assert.match(await stateOf('silent', 'silent'), /^unknown: .* no answer within 3 s$/);
});

test('Shows 3: a clock that nothing keeps right is named with what mends it', () => {
  assert.equal(checkClock(() => true).state, 'ok');
  const { state, mend } = checkClock(() => false);
  assert.deepEqual([state, mend], ['fault', 'apt-get install chrony && systemctl enable --now chrony']);
  assert.match(checkClock().state, /ok|fault/, 'the kernel is asked');
});

test('Shows 3: a full table of tracked connections, and none at all, are named with what mends them', (t) => {
  // The kernel has one limit for all namespaces: it is left alone.
  const procSys = mkdtempSync(join(tmpdir(), 'postern-proc-'));
  t.after(() => rmSync(procSys, { recursive: true }));
  assert.match(checkConntrack(procSys).mend ?? '', /^modprobe nf_conntrack$/);
  mkdirSync(join(procSys, 'net/netfilter'), { recursive: true });
  const say = (count: number, max: number): ReturnType<typeof checkConntrack> => {
    writeFileSync(join(procSys, 'net/netfilter/nf_conntrack_count'), `${count}\n`);
    writeFileSync(join(procSys, 'net/netfilter/nf_conntrack_max'), `${max}\n`);
    return checkConntrack(procSys);
  };
  assert.equal(say(799, 1000).state, 'ok');
  assert.deepEqual(say(800, 1000), {
    ...{ check: 'conntrack', state: 'fault', mend: 'sysctl -w net.netfilter.nf_conntrack_max=4000' },
    text: '800 of at most 1000 connections are tracked: new ones are dropped when it is full',
  });
});

const intercepted: Packet = {
  ...{ in: 'lan0', dport: 25, state: 'NEW', mark: '0x1000000/0xf000000' },
  sources: [prefix('198.51.100.0/24')],
};

test('a rule of somebody else holds for mail, or does not, or may', () => {
  const cases: readonly (readonly [string, ReturnType<typeof matches>])[] = [
    ['-j DROP', 'yes'],
    ['-p udp -j DROP', 'no'],
    ['-i lan+ -p tcp -m tcp --dport 20:30 -j DROP', 'yes'],
    ['! -i lan0 -j DROP', 'no'],
    ['-p tcp -m multiport --dports 80,443 -j DROP', 'no'],
    ['-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', 'no'],
    ['-m comment --comment "-p udp, no mail" -m mark --mark 0x1000000/0xf000000 -j ACCEPT', 'yes'],
    ['-m mark ! --mark 0x1000000/0xf000000 -j DROP', 'no'],
    ['-s 198.51.0.0/16 -j ACCEPT', 'yes'],
    ['-s 198.51.100.7/32 -j DROP', 'maybe'],
    ['-s 192.0.2.0/24 -j DROP', 'no'],
    ['-m limit --limit 5/min -j ACCEPT', 'maybe'],
  ];
  for (const [rule, holds] of cases) assert.equal(matches(rule, intercepted), holds, rule);
});

test('the way of a packet through chains of others: the first that decides, ours left out, policies at the end', () => {
  const stopped = (rules: readonly string[], policy = 'ACCEPT'): string => {
    const hit = walk(
      parseChains(
        `*filter\n:INPUT ${policy} [0:0]\n:FW - [0:0]\n:POSTERN-INPUT - [0:0]\n${rules.map((rule) => `-A ${rule}\n`).join('')}COMMIT\n`,
      ),
      'filter',
      'INPUT',
      intercepted,
    );
    return hit ? `${hit.target} ${hit.chain}` : '';
  };
  const ours = 'INPUT -p tcp -j POSTERN-INPUT';
  assert.equal(stopped([ours]), '');
  assert.equal(stopped([ours], 'DROP'), 'DROP INPUT');
  assert.equal(stopped([ours, 'INPUT -j ACCEPT'], 'DROP'), 'ACCEPT INPUT');
  assert.equal(stopped([ours, 'INPUT -j FW', 'FW -i lan0 -j REJECT']), 'REJECT FW');
  assert.equal(stopped([ours, 'INPUT -j FW', 'FW -i lan0 -j RETURN', 'FW -j REJECT']), '');
  assert.equal(stopped([ours, 'INPUT -j LOG', 'INPUT -s 198.51.100.7/32 -j DROP']), '');
  assert.equal(stopped(['INPUT -j FW', 'FW -j FW']), '');
});
