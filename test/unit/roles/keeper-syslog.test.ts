import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { configIn, makePlace, stageKeeper } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

async function listener(
  t: TestContext,
): Promise<{ readonly port: number; readonly got: string[]; readonly socket: Socket }> {
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  const got: string[] = [];
  socket.on('message', (message) => void got.push(message.toString()));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { port: socket.address().port, got, socket };
}

const syslogAt = (port: number): string =>
  `keep = "2d"\n[syslog]\nserver = "127.0.0.1:${port}"\nfields = ["network", "sender", "reply"]\n`;

test('attempts go to the syslog server as the network keeps them; a reload that names another goes over to it', async (t) => {
  const [first, second] = [await listener(t), await listener(t)];
  const place = makePlace();
  place.write({ journal: syslogAt(first.port) });
  const stage = await stageKeeper(undefined, place);
  t.after(() => stage.close());
  const worker = stage.worker(1);
  await worker.ready;
  worker.record(attempt({ sender: '<alice@a.example>' }));
  worker.record(attempt({ network: 'discreet', sender: '<alice@a.example>', reply: '550 no alice@a.example here' }));
  await until(() => first.got.length === 4, 'two for each');
  const [open, , discreet] = first.got;
  assert.match(
    open ?? '',
    / message \[postern@32473 id="\w+" network="customers" sender="alice@a\.example" reply="250 2\.0\.0 Ok/,
  );
  assert.match(discreet ?? '', / network="discreet" sender="hash:[\w-]+" reply="550"\]$/);
  assert.ok(!first.got.slice(2).join('').includes('alice'));

  place.write({ journal: syslogAt(second.port) });
  stage.keeper.apply(await configIn(place));
  worker.record(attempt());
  await until(() => second.got.length === 2, 'the other has it');
  assert.equal(first.got.length, 4);
  assert.match(await stage.metrics(), /^postern_syslog_dropped_total 0$/m);
  await worker.close();
});
