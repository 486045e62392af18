import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sessionReport } from '../../../src/gateway/report.ts';
import { noCounts } from '../../../src/relay/smarthost.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';

test('a report tells what was counted since the one before, also when the relay was replaced meanwhile', async () => {
  const [first, second] = [new FakeRelay(), new FakeRelay()];
  const totals = noCounts();
  first.totals = totals;
  second.totals = totals;
  const gateway = await startGateway({ config: await testConfig(['127.0.0.1:587']), relay: first });
  try {
    const report = sessionReport(gateway.rooms);
    assert.deepEqual(report().relay, { faults: 0, repeated: 0, possibleDuplicates: 0 });
    Object.assign(totals, { faults: 3, repeated: 2, possibleDuplicates: 1 });
    assert.deepEqual(report().relay, { faults: 3, repeated: 2, possibleDuplicates: 1 });
    gateway.rooms.relay = second;
    totals.faults++;
    assert.deepEqual(report().relay, { faults: 1, repeated: 0, possibleDuplicates: 0 });
    assert.deepEqual(report().relay, { faults: 0, repeated: 0, possibleDuplicates: 0 });
  } finally {
    await gateway.close();
  }
});
