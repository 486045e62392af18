import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusText } from '../../../src/cli/status.ts';
import type { Status } from '../../../src/ledger/language.ts';
import { hostile, RAW_CONTROL } from '../../kit/hostile.ts';
import { kernelReport } from '../ledger/sample.ts';

function status(change: Partial<Status> = {}): Status {
  return {
    version: '0.1.0',
    name: 'gw1.example.net',
    startedAt: 1_700_000_000_000,
    uptimeMs: 3_700_000,
    intercepting: true,
    problem: undefined,
    subscribers: 0,
    networks: [
      {
        name: 'customers',
        mode: 'enforce',
        fail: 'closed',
        refuse: 'reset',
        egress: 'smarthost',
        prefixes: ['198.51.100.0/24', '2001:db8:1::/48'],
        maxConnections: 200,
      },
    ],
    prefixes: [
      { prefix: '198.51.100.0/24', network: 'customers', lastSeenAt: 1_700_000_000_000 },
      { prefix: '2001:db8:1::/48', network: 'customers', lastSeenAt: 1_699_999_999_000 },
    ],
    kernel: kernelReport(),
    kernelAgeMs: 300,
    workers: { configured: 2, connected: [{ worker: 1, sinceMs: 60_000, open: 3 }] },
    upstream: [{ server: 'smtp.example.net:587', up: 1, of: 1, connections: 4, reason: undefined }],
    services: [],
    sessionsOpen: 3,
    held: { connections: 3, sources: 2 },
    locks: 0,
    steps: [],
    journal: {
      ok: true,
      problem: undefined,
      path: '/j',
      sizeBytes: 2 ** 20,
      written: 9,
      dropped: 0,
      waiting: 0,
      oldest: 1_700_000_000_000,
    },
    configErrors: 0,
    waysRound: { missingInterfaces: [], exemptNetworks: [], exemptTo: [], failOpen: [], unread: 0 },
    ...change,
  };
}

test('without a smarthost there is no table of servers', () => {
  assert.doesNotMatch(statusText(status({ upstream: [] }), false), /SERVER|\n\n\n/);
});

test('all well', () => {
  assert.equal(
    statusText(status(), false),
    `Postern 0.1.0 on gw1.example.net, up 1h 1m
Intercepting: yes, seen by the guard since 2023-11-14 22:13:20Z

Ways round: none

NETWORK    MODE     FAIL    REFUSE  EGRESS     MAX  PREFIXES
customers  enforce  closed  reset   smarthost  200  198.51.100.0/24 2001:db8:1::/48

PREFIX           NETWORK    LAST INTERCEPTED
2001:db8:1::/48  customers  2023-11-14 22:13:19Z
198.51.100.0/24  customers  2023-11-14 22:13:20Z

Workers: 1 of 2: 1 (3 open, connected 1m)
Sessions open: 3; counted connections: 3 from 2 sources

SERVER                STATE  CONNECTIONS  REASON
smtp.example.net:587  up     4

Rules repaired: 0
Refused by the kernel: nothing so far

Locks: 0
Journal: ok; 1.0 MiB, from 2023-11-14 22:13:20Z, 9 written since the start
`,
  );
});

test('every way round is named, and so is every trouble', () => {
  const text = statusText(
    status({
      intercepting: false,
      problem: 'no worker answers',
      waysRound: {
        missingInterfaces: ['lna0'],
        exemptNetworks: [{ name: 'vip', prefixes: ['203.0.113.0/24'] }],
        exemptTo: [
          { prefix: '192.0.2.10/32', packets: 12, until: Date.parse('2027-01-31T00:00Z'), reason: 'ticket 4711' },
          { prefix: '192.0.2.11/32', packets: undefined },
        ],
        failOpen: ['customers'],
        unread: 2,
      },
      upstream: [
        { server: 'a.example.net:25', up: 0, of: 2, connections: 0, reason: 'refused' },
        { server: 'b.example.net:25', up: 1, of: 2, connections: 1, reason: 'timeout' },
        { server: 'c.example.net:25', up: 0, of: 0, connections: 0, reason: undefined },
      ],
      services: [
        { service: 'clamd', up: 2, of: 2, definitionsAt: Date.UTC(2026, 10, 20, 9, 33) },
        { service: 'rspamd', up: 1, of: 2, definitionsAt: undefined },
        { service: 'dns', up: 0, of: 2, definitionsAt: undefined },
      ],
      kernel: kernelReport({
        alive: false,
        repaired: 3,
        refused: [
          { network: 'unrouted', reason: 'unrouted', packets: 9 },
          { network: 'customers', reason: 'block', packets: 0 },
        ],
        topRefused: [{ source: '192.0.2.77', packets: 9 }],
      }),
      journal: {
        ok: false,
        problem: 'disk full',
        path: '/j',
        sizeBytes: 0,
        written: 9,
        dropped: 4,
        waiting: 10,
        oldest: undefined,
      },
      configErrors: 2,
      locks: 3,
    }),
    false,
  );
  for (const line of [
    'Intercepting: NO: no worker answers',
    '  ! interface lna0 does not exist: what comes in elsewhere is neither intercepted nor refused',
    '  ! network vip is exempt, not intercepted: 203.0.113.0/24',
    '  ! destination 192.0.2.10/32 is not intercepted until 2027-01-31 00:00:00Z: ticket 4711 (12 packets so far)',
    '  ! destination 192.0.2.11/32 is never intercepted',
    '  ! network customers passes untouched when no worker answers (fail = "open")',
    '  ! 2 hosts that verify are carried unread, within limits ("postern verifying")',
    'Rules repaired: 3',
    'Locks: 3 ("postern locks" lists them)',
    'Journal: NOT WRITTEN: disk full; 0 B, empty, 9 written since the start, 10 waiting; 4 LOST',
    'Configuration: 2 reloads were refused; the log says why',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line}\nis missing in\n${text}`);
  }
  assert.match(text, /^a\.example\.net:25 +DOWN +0 +refused$/m);
  assert.match(text, /^b\.example\.net:25 +up for 1 of 2 workers +1 +timeout$/m);
  assert.match(text, /^clamd +asked +of 2026-11-20/m);
  assert.match(text, /^rspamd +left alone by 1 of 2 workers *$/m);
  assert.match(text, /^dns +LEFT ALONE *$/m);
  assert.match(text, /^c\.example\.net:25 +not known yet +0$/m);
  assert.match(text, /^unrouted +unrouted +9$/m);
  assert.doesNotMatch(text, /^customers +block/m);
  assert.match(text, /^192\.0\.2\.77 +9$/m);
});

test('what a mode makes meaningless is no value', () => {
  const [one] = status().networks;
  assert.ok(one);
  const modes = ['enforce', 'observe', 'exempt', 'block', 'smarthost-only'];
  const text = statusText(status({ networks: modes.map((mode) => ({ ...one, mode, refuse: 'drop' })) }), false);
  const row = (mode: string): readonly string[] =>
    new RegExp(`^customers +${mode} .*$`, 'm').exec(text)?.[0].split(/ +/) ?? [];
  // A lock in the kernel refuses in every mode, in the way that "refuse" says.
  for (const mode of modes.slice(0, 2)) assert.deepEqual(row(mode).slice(2, 6), ['closed', 'drop', 'smarthost', '200']);
  for (const mode of modes.slice(2)) assert.deepEqual(row(mode).slice(2, 6), ['-', 'drop', 'smarthost', '-']);
});

test('one is said as one', () => {
  const text = statusText(
    status({
      configErrors: 1,
      held: { connections: 1, sources: 1 },
      waysRound: { ...status().waysRound, exemptTo: [{ prefix: '192.0.2.10/32', packets: 1 }] },
    }),
    false,
  );
  assert.match(text, /^Configuration: 1 reload was refused; the log says why$/m);
  assert.match(text, / from 1 source$/m);
  assert.match(text, /\(1 packet so far\)$/m);
});

test('a terminal gets colour, a pipe none; nothing hostile reaches either', () => {
  assert.ok(statusText(status({ intercepting: false }), true).includes('\x1b[1;31mIntercepting: NO\x1b[0m'));
  assert.ok(!statusText(status({ intercepting: false }), false).includes('\x1b'));
  for (const text of hostile) {
    const page = statusText(
      status({
        intercepting: false,
        problem: text,
        upstream: [{ server: text, up: 0, of: 1, connections: 0, reason: text }],
        journal: {
          ok: false,
          problem: text,
          path: '/j',
          sizeBytes: 0,
          written: 0,
          dropped: 0,
          waiting: 0,
          oldest: undefined,
        },
        kernel: kernelReport({ topRefused: [{ source: text, packets: 1 }] }),
      }),
      false,
    );
    assert.doesNotMatch(page, RAW_CONTROL);
  }
});

test('a prefix that was never seen intercepted stands first, and is counted; of very many the rest is only counted', () => {
  const prefixes = Array.from({ length: 30 }, (_, i) => ({
    prefix: `198.51.100.${i}/32`,
    network: 'customers',
    lastSeenAt: i === 29 ? undefined : 1_700_000_000_000 + i * 1000,
  }));
  const text = statusText(status({ prefixes }), false);
  assert.match(text, /\nNever seen intercepted: 1 prefix; silent hosts, or packets that do not come here\n/);
  assert.match(text, /LAST INTERCEPTED\n198\.51\.100\.29\/32  customers  never\n198\.51\.100\.0\/32 .* 22:13:20Z\n/);
  assert.match(text, /\nand 10 more, seen later \("--json" has all\)\n/);
  assert.doesNotMatch(statusText(status({ prefixes: [] }), false), /INTERCEPTED|\n\n\n/);
});
