/** A worker takes a new configuration into effect. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { silentLog } from '../../../src/kit/log.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import { noCounts } from '../../../src/relay/smarthost.ts';
import { adopt } from '../../../src/roles/worker.ts';
import { startFakeUpstream } from '../../fake/upstream.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';
import { until } from '../../kit/wait.ts';

test('a reload while no server answers: hosts get the banner and the extensions as before', async () => {
  const fake = await startFakeUpstream();
  const config = await testConfig([fake.endpoint], { smarthost: 'connect_timeout = "20s"' });
  const gateway = await startGateway({ config });
  const { rooms } = gateway;
  try {
    const before = rooms.relay;
    assert.ok(before.offers());
    await fake.close();
    adopt(rooms, { ...config }, { log: silentLog, clock: systemClock, counters: noCounts() });
    await until(() => rooms.relay !== before, 'the new relay');
    assert.equal(rooms.relay.servers()[0]?.up, false);
    assert.deepEqual(rooms.relay.offers(), before.offers());
    const host = gateway.connect();
    const [banner] = (await once(host, 'data', { signal: AbortSignal.timeout(120_000) })) as [Buffer];
    assert.match(banner.toString(), /^220 /);
    host.destroy();
  } finally {
    await gateway.close();
    await rooms.relay.close();
  }
});
