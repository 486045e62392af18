import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { makePlace, stageKeeper } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

test('each webhook is told what it asked for: locks and steps here, refusals there, as the network keeps them', async (t) => {
  const got: (readonly [path: string, event: string, data: Record<string, unknown>])[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      const { event, data } = JSON.parse(body) as { event: string; data: Record<string, unknown> };
      got.push([request.url ?? '', event, data]);
      response.writeHead(204).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const place = makePlace();
  const secret = join(place.dir, 'secret');
  writeFileSync(secret, 'between us');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hook = (name: string, more: string): string =>
    `[[webhook]]\nname = "${name}"\nurl = "${url}/${name}"\nsecret_file = "${secret}"\n${more}`;
  place.write({ journal: `keep = "2d"\n${hook('desk', '')}${hook('spam', 'events = ["refused"]\n')}` });
  const stage = await stageKeeper(undefined, place);
  t.after(() => stage.close());

  const lock = { subject: '198.51.100.7/32', how: 'reject', reason: 'spam run', who: 'ops', until: undefined } as const;
  await stage.ask({ of: 'lock', lock });
  await stage.ask({ of: 'unlock', subject: '198.51.100.7/32', who: 'ops' });
  await stage.ask({
    of: 'step',
    step: { subject: '198.51.100.7', mode: 'block', reason: 'spam run', who: 'ops', until: undefined },
  });
  const worker = stage.worker(1);
  await worker.ready;
  worker.record(attempt());
  worker.record(attempt({ network: 'discreet', verdict: 'reject', class: 'spam.gtube', sender: '<alice@a.example>' }));
  await until(() => got.length === 4, 'all came');
  assert.deepEqual(
    got.filter(([path]) => path === '/desk').map(([, event, { what }]) => [event, what]),
    [
      ['lock', 'locked'],
      ['lock', 'unlocked'],
      ['step', 'taken'],
    ],
  );
  const [refused] = got.filter(([path]) => path === '/spam');
  assert.equal(refused?.[2]['class'], 'spam.gtube');
  assert.match(String(refused[2]['sender']), /^hash:/);
  await worker.close();
});
