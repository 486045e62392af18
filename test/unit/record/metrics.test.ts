import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { type Class, classes } from '../../../src/policy/classes.ts';
import type { Metrics, Sources } from '../../../src/record/metrics.ts';
import { hostile } from '../../kit/hostile.ts';
import { quietMetrics } from '../../kit/metrics.ts';
import { attempt, counts } from '../ledger/sample.ts';
import { within } from '../../kit/pace.ts';

const journal = {
  ok: true,
  problem: undefined,
  path: '/j',
  sizeBytes: 7,
  written: 3,
  dropped: 2,
  waiting: 1,
  oldest: 5,
};

function metrics(change: Partial<Sources> = {}): Metrics {
  const all = quietMetrics({
    version: '0.1.0',
    locks: () => 4,
    verifying: () => 6,
    journal: () => journal,
    certificates: () => ({ authority: 1_800_000_000_999, issuer: undefined }),
    configErrors: () => ({ keeper: 1, guard: 2 }),
    ...change,
  });
  all.configure(['customers', 'servers'], ['smtp.example.net:587', '[2001:db8::1]:587'], ['lan0', 'lan1']);
  return all;
}

/** The values by series, `name{labels}` to number. */
async function values(of: Metrics): Promise<Map<string, number>> {
  const lines = (await of.render()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

test('every metric that the documentation names is there from the start', async () => {
  const text = await metrics().render();
  for (const [name, type] of [
    ['postern_sessions_total', 'counter'],
    ['postern_sessions_open', 'gauge'],
    ['postern_messages_total', 'counter'],
    ['postern_refused_connections_total', 'counter'],
    ['postern_upstream_up', 'gauge'],
    ['postern_relay_seconds', 'histogram'],
    ['postern_verdict_seconds', 'histogram'],
    ['postern_intercept_alive', 'gauge'],
    ['postern_interface_present', 'gauge'],
    ['postern_rules_repaired_total', 'counter'],
    ['postern_journal_dropped_total', 'counter'],
    ['postern_journal_rows_total', 'counter'],
    ['postern_config_errors_total', 'counter'],
    ['postern_tls_downgrades_total', 'counter'],
    ['postern_events_dropped_total', 'counter'],
    ['postern_build_info', 'gauge'],
  ]) {
    assert.match(text, new RegExp(`^# TYPE ${name} ${type}$`, 'm'));
  }
});

test('messages are counted by the TLS of both legs, and a downgrade would show', async () => {
  const m = metrics();
  const tls = { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', name: undefined };
  for (const [of, upstreamTls] of [
    [undefined, 'clear'],
    [undefined, 'TLSv1.2'],
    [tls, 'TLSv1.3'],
    [tls, 'trusted'],
    [{ ...tls, version: 'TLSv9 "x"' }, 'TLSv1.3'],
    [tls, undefined],
  ] as const)
    m.attempt(attempt({ tls: of, upstreamTls }));
  let v = await values(m);
  const legs = (from: string, to: string): number | undefined =>
    v.get(`postern_tls_messages_total{in="${from}",out="${to}"}`);
  assert.deepEqual(
    [legs('clear', 'clear'), legs('clear', 'TLSv1.2'), legs('TLSv1.3', 'TLSv1.3'), legs('TLSv1.3', 'trusted')],
    [1, 1, 1, 1],
  );
  assert.equal(legs('other', 'TLSv1.3'), 1, 'a version that is in no list is no label');
  assert.equal(v.get('postern_tls_upgraded_total'), 1);
  assert.equal(v.get('postern_tls_downgrades_total'), 0);
  m.attempt(attempt({ tls, upstreamTls: 'clear' }));
  v = await values(m);
  assert.equal(v.get('postern_tls_downgrades_total'), 1);
});

test('handshakes by how they ended, and when certificates end', async () => {
  const m = metrics();
  const of = { handshakes: { done: 2, certificate: 1, 'x"y': 1 }, kept: 1, endsAt: 1_700_000_000_500 };
  m.sessions(counts({ worker: 1, tls: of }));
  m.sessions(counts({ worker: 2, tls: { handshakes: { done: 1 }, kept: 2, endsAt: 1_600_000_000_500 } }));
  const v = await values(m);
  assert.deepEqual(
    ['done', 'certificate', 'other', 'timeout'].map((how) => v.get(`postern_tls_handshakes_total{how="${how}"}`)),
    [3, 1, 1, 0],
  );
  assert.equal(v.get('postern_tls_certificate_kept'), 3);
  const ends = (of: string): number | undefined =>
    v.get(`postern_certificate_expiry_timestamp_seconds{certificate="${of}"}`);
  assert.deepEqual([ends('authority'), ends('issuer'), ends('operator')], [1_800_000_000, undefined, 1_600_000_000]);
});

test('what happens is counted, where and why', async () => {
  const m = metrics();
  m.sessions(counts({ worker: 1, opened: { customers: 3 }, open: 2, dropped: 5 }));
  m.sessions(counts({ worker: 2, opened: { customers: 1, servers: 1 }, open: 7 }));
  m.attempt(attempt());
  m.attempt(attempt({ verdict: 'reject', class: 'spam.gtube', verdictMs: 2000, relayMs: undefined }));
  const v = await values(m);
  assert.equal(v.get('postern_sessions_total{network="customers"}'), 4);
  assert.equal(v.get('postern_sessions_total{network="servers"}'), 1);
  assert.equal(v.get('postern_sessions_open'), 9);
  assert.equal(v.get('postern_events_dropped_total'), 5);
  assert.equal(v.get('postern_messages_total{network="customers",verdict="accept",class="accepted.clean"}'), 1);
  assert.equal(v.get('postern_messages_total{network="customers",verdict="reject",class="spam.gtube"}'), 1);
  assert.equal(v.get('postern_verdict_seconds_count'), 2);
  assert.equal(v.get('postern_verdict_seconds_sum'), 2.012);
  assert.equal(v.get('postern_relay_seconds_count'), 1);
  assert.equal(v.get('postern_journal_rows_total'), 3);
  assert.equal(v.get('postern_journal_dropped_total'), 2);
  assert.equal(v.get('postern_config_errors_total{role="guard"}'), 2);
  assert.equal(v.get('postern_tls_downgrades_total'), 0);
  assert.equal(v.get('postern_locks'), 4);
  m.workerGone(2);
  assert.equal((await values(m)).get('postern_sessions_open'), 2);
});

test('asking twice does not count twice', async () => {
  const m = metrics();
  await m.render();
  assert.equal((await values(m)).get('postern_journal_rows_total'), 3);
});

test('a server is up when one worker sees it up; one that nobody spoke of has no value', async () => {
  const m = metrics();
  const server = 'smtp.example.net:587';
  assert.equal((await values(m)).get(`postern_upstream_up{server="${server}"}`), undefined);
  m.sessions(counts({ worker: 1, upstream: [{ server, up: true, connections: 2 }] }));
  m.sessions(counts({ worker: 2, upstream: [{ server, up: false, connections: 0, reason: 'refused' }] }));
  assert.equal((await values(m)).get(`postern_upstream_up{server="${server}"}`), 1);
  assert.deepEqual(m.upstream()[0], { server, up: 1, of: 2, connections: 2, reason: 'refused' });
  m.workerGone(1);
  assert.equal((await values(m)).get(`postern_upstream_up{server="${server}"}`), 0);
});

test('what went wrong towards the smarthosts adds up over workers, and no end of a worker takes it back', async () => {
  const m = metrics();
  const names = ['relay_faults', 'envelopes_repeated', 'possible_duplicates'].map((name) => `postern_${name}_total`);
  const now = async () => {
    const v = await values(m);
    return names.map((name) => v.get(name));
  };
  assert.deepEqual(await now(), [0, 0, 0]);
  m.sessions(counts({ worker: 1, relay: { faults: 5, repeated: 3, possibleDuplicates: 1 } }));
  m.sessions(counts({ worker: 2, relay: { faults: 1, repeated: 0, possibleDuplicates: 1 } }));
  m.workerGone(1);
  m.sessions(counts({ worker: 1 }));
  m.sessions(counts({ worker: 1, relay: { faults: 1, repeated: 1, possibleDuplicates: 0 } }));
  assert.deepEqual(await now(), [7, 4, 2]);
});

test("the kernel's counters grow through a rebuilt rule set and never fall", async () => {
  const m = metrics();
  const report = (packets: number, repaired: number): void =>
    m.kernel({ inside: [], repaired, refused: [{ network: 'unrouted', reason: 'unrouted', packets }] });
  const seen: (number | undefined)[] = [];
  for (const [packets, repaired] of [
    [10, 1],
    [15, 1],
    [3, 2],
    [3, 0],
    [9, 1],
  ] as const) {
    report(packets, repaired);
    seen.push((await values(m)).get('postern_refused_connections_total{network="unrouted",reason="unrouted"}'));
  }
  assert.deepEqual(seen, [10, 15, 18, 18, 24]);
  assert.equal((await values(m)).get('postern_rules_repaired_total'), 3);
});

test('interfaces: those of the configuration, once the guard has spoken of them', async () => {
  const m = metrics();
  const all = async (): Promise<unknown> =>
    [...(await values(m))].filter(([series]) => series.startsWith('postern_interface_present'));
  assert.deepEqual(await all(), []);
  const inside = [
    { interface: 'lan0', present: true },
    { interface: 'lan1', present: false },
    { interface: 'not-ours', present: true },
  ];
  m.kernel({ inside, repaired: 0, refused: [] });
  assert.deepEqual(await all(), [
    ['postern_interface_present{interface="lan0"}', 1],
    ['postern_interface_present{interface="lan1"}', 0],
  ]);
  m.configure([], [], ['lan1']);
  assert.deepEqual(await all(), [['postern_interface_present{interface="lan1"}', 0]]);
});

test('100,000 sources, domains and names make no series; the page stays small and quick', async () => {
  const m = metrics();
  const all = Object.keys(classes) as Class[];
  for (let i = 0; i < 100_000; i++) {
    m.attempt(
      attempt({
        source: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
        sender: `<a@d${i}.example>`,
        helo: `h${i}.example`,
        network: i % 3 === 0 ? `made-up-${i}` : 'customers',
        class: all[i % all.length] as Class,
        verdict: (['accept', 'defer', 'reject'] as const)[i % 3] as 'accept',
      }),
    );
  }
  m.kernel({
    inside: Array.from({ length: 5000 }, (_, i) => ({ interface: `i${i}`, present: true })),
    repaired: 0,
    refused: Array.from({ length: 5000 }, (_, i) => ({ network: `n${i}`, reason: `r${i}`, packets: 1 })),
  });
  m.sessions(
    counts({
      opened: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`n${i}`, 1])),
      upstream: Array.from({ length: 900 }, (_, i) => ({ server: `s${i}:25`, up: true, connections: 1 })),
    }),
  );
  const before = process.threadCpuUsage();
  const text = await m.render();
  const { user, system } = process.threadCpuUsage(before);
  const tookMs = (user + system) / 1000;
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  assert.ok(series < 600, `${series} series`);
  assert.ok(text.length < 1024 * 1024, `${text.length} bytes`);
  assert.ok(within(tookMs, 100), `${tookMs} ms`);
  const v = await values(m);
  assert.equal(v.get('postern_refused_connections_total{network="other",reason="other"}'), 5000);
  assert.equal(v.get('postern_sessions_total{network="other"}'), 5000);
});

test('hostile names are no labels', async () => {
  const m = metrics();
  for (const text of hostile) {
    m.attempt(attempt({ network: text }));
    m.attempt(attempt({ class: text as Class }));
    m.sessions(counts({ opened: { [text]: 1 }, upstream: [{ server: text, up: true, connections: 1 }] }));
    m.kernel({
      inside: [{ interface: text, present: true }],
      repaired: 0,
      refused: [{ network: text, reason: text, packets: 1 }],
    });
  }
  const text = await m.render();
  assert.match(text, /^[\x20-\x7e\n]*$/);
  for (const [series] of await values(m)) assert.doesNotMatch(series, /DROP|root|jndi|HELP|proto|xxxx/);
});

test('a network that a reload takes away is counted as "other" from then on', async () => {
  const m = metrics();
  m.configure(['servers', 'fresh'], ['new.example.net:25'], ['lan0']);
  m.attempt(attempt());
  const v = await values(m);
  assert.equal(v.get('postern_messages_total{network="other",verdict="accept",class="accepted.clean"}'), 1);
  assert.equal(v.get('postern_sessions_total{network="fresh"}'), 0);
});

const promtool = spawnSync('promtool', ['--version']).status === 0;
test('promtool finds nothing to say', {
  skip: promtool ? false : 'promtool is not installed (package prometheus)',
}, async () => {
  const m = metrics();
  m.attempt(attempt());
  m.sessions(counts({ upstream: [{ server: 'smtp.example.net:587', up: true, connections: 1 }] }));
  m.kernel({
    inside: [{ interface: 'lan0', present: true }],
    repaired: 1,
    refused: [{ network: 'customers', reason: 'block', packets: 1 }],
  });
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: await m.render(),
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
  const bad = spawnSync('promtool', ['check', 'metrics'], { input: 'x_total{a="1} 2\n', encoding: 'utf8' });
  assert.notEqual(bad.status, 0, 'promtool does see what is wrong');
});

test('a service is up while every worker asks it; its calls add up, and the oldest definitions count', async () => {
  const all = metrics();
  const service = { name: 'clamd', up: true, answered: 3, failed: 1, skipped: 2, ms: 500 } as const;
  all.sessions({ ...counts(), worker: 1, services: [{ ...service, definitionsAt: Date.now() - 7_200_000 }] });
  all.sessions({ ...counts(), worker: 2, services: [{ ...service, definitionsAt: Date.now() - 3_600_000 }] });
  const first = await values(all);
  assert.equal(first.get('postern_service_up{service="clamd"}'), 1);
  assert.equal(first.get('postern_service_calls_total{service="clamd",outcome="answered"}'), 6);
  assert.equal(first.get('postern_service_calls_total{service="clamd",outcome="skipped"}'), 4);
  assert.equal(first.get('postern_service_seconds_total{service="clamd"}'), 1);
  assert.ok(Math.abs((first.get('postern_definitions_age_seconds{service="clamd"}') ?? 0) - 7200) <= 5);
  assert.ok(!(await all.render()).includes('service="rspamd"'), 'nobody asks it');
  all.sessions({ ...counts(), worker: 2, services: [{ ...service, up: false }] });
  assert.equal((await values(all)).get('postern_service_up{service="clamd"}'), 0);
  all.workerGone(2);
  assert.equal((await values(all)).get('postern_service_up{service="clamd"}'), 1);
});

test('what was carried unread, and how servers were verified: by closed lists, whatever a worker says', async () => {
  const all = metrics();
  all.attempt(attempt({ class: 'tls.opaque', verdict: 'accept', sizeBytes: 700, network: 'customers' }));
  all.attempt(attempt({ tls: { version: 'TLSv1.3', cipher: 'x', name: undefined }, upstreamTls: 'TLSv1.3 dane' }));
  const verified = {
    'tlsa success': 2,
    'sts certificate-expired': 1,
    'mx.example.org success': 5,
    'tlsa odd': 5,
    '': 5,
  };
  all.sessions(counts({ opaque: 3, tls: { handshakes: {}, kept: 0, verified } }));
  const found = await values(all);
  const of = (name: string): [string, number][] => [...found].filter(([series]) => series.startsWith(name));
  assert.deepEqual(of('postern_tls_verified_total'), [
    ['postern_tls_verified_total{policy="tlsa",result="success"}', 2],
    ['postern_tls_verified_total{policy="sts",result="certificate-expired"}', 1],
  ]);
  assert.deepEqual(of('postern_opaque_'), [
    ['postern_opaque_connections', 3],
    ['postern_opaque_total{network="customers"}', 1],
    ['postern_opaque_total{network="servers"}', 0],
    ['postern_opaque_bytes_total{network="customers"}', 700],
  ]);
  assert.equal(found.get('postern_verifying_pairs'), 6);
  assert.equal(found.get('postern_tls_messages_total{in="TLSv1.3",out="TLSv1.3"}'), 1);
});
