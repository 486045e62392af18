/** What a worker's own log says of a far side that fails: never its text, which can quote an address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { safeJson } from '../../../src/kit/log.ts';
import { type FakeOptions, startFakeUpstream } from '../../fake/upstream.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';
import { logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';

type Stage = 'mail' | 'rcpt' | 'data' | 'dot';

test('with log = "hash", a far side that quotes an address leaves class, step, code and server in the log', async () => {
  const cases: [Stage, string, { class: string; step: string; code: number }][] = [
    ['rcpt', '421 4.7.0 <bob@example.net> sends too much', { class: 'upstream.lost', step: 'rcpt', code: 421 }],
    ['mail', '354 <bob@example.net> what?', { class: 'upstream.garbage', step: 'mail', code: 354 }],
    ['data', '421 4.7.0 no <bob@example.net>', { class: 'upstream.lost', step: 'data', code: 421 }],
    ['dot', '421 4.7.0 no <bob@example.net>', { class: 'upstream.lost', step: 'message', code: 421 }],
  ];
  for (const [stage, reply, expected] of cases) {
    const misbehave: FakeOptions['misbehave'] = (moment) => (moment.stage === stage ? { reply } : undefined);
    const fake = await startFakeUpstream({ misbehave });
    const log = logbook();
    const config = await testConfig([fake.endpoint], { network: 'log = "hash"' });
    const gateway = await startGateway({ config, log });
    try {
      const host = gateway.connect();
      let heard = '';
      host.on('data', (chunk: Buffer) => (heard += chunk.toString()));
      host.write('EHLO h\r\nMAIL FROM:<bob@example.net>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n');
      if (stage === 'data' || stage === 'dot') {
        await until(() => heard.includes('354 '), '354');
        host.write('From: <bob@example.net>\r\n\r\nx\r\n.\r\n');
      }
      const failed = await log.seen('upstream-failed');
      const fault = await log.seen('upstream.fault');
      for (const { class: of, step, code, server } of [failed, fault] as Record<string, unknown>[]) {
        assert.deepEqual({ class: of, step, code, server }, { ...expected, server: fake.endpoint }, stage);
      }
      assert.doesNotMatch(safeJson(log.entries), /bob|too much/);
    } finally {
      await gateway.close();
      await fake.close();
    }
  }
});
