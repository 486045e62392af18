/** Somebody who is bound to a tenant: what the tenant's hosts did is in the answers, and of anybody else nothing is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { routes } from '../../src/panel/routes.ts';
import { makePlace } from '../kit/keeper.ts';
import { attempt } from '../unit/ledger/sample.ts';
import { bearer, PASSWORD, startPanel } from './setup.ts';

/** The subscriber in the middle of one tenant's network is the other's. */
const NETWORKS = `[[network]]
name = "crimson-net"
prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]
tenant = "crimson"
[[network]]
name = "azure-net"
prefixes = ["203.0.113.0/24"]
tenant = "azure"
[[network]]
name = "nobodys-net"
prefixes = ["192.0.2.0/24"]
[[subscriber]]
name = "azure-box"
prefixes = ["198.51.100.77"]
tenant = "azure"
`;

/** Hosts of each, and what nobody else may read anywhere. */
const HOSTS = {
  crimson: ['198.51.100.7', '2001:db8:1::7'],
  azure: ['203.0.113.9', '198.51.100.77'],
  nobodys: ['192.0.2.5'],
} as const;
const MARKS = {
  crimson: /crimson|198\.51\.100\.7\b|2001:db8:1:/,
  azure: /azure|203\.0\.113\.[09]|198\.51\.100\.77/,
  nobodys: /nobodys|192\.0\.2\.5/,
} as const;
type Name = keyof typeof HOSTS;
const NAMES = Object.keys(HOSTS) as Name[];
const ownerOf = (name: Name): string | undefined => (name === 'nobodys' ? undefined : name);

test('Shows 2: tenants cannot see each other, on whatever route', async (t) => {
  const place = makePlace();
  place.write({ networks: NETWORKS });
  const p = await startPanel(t, undefined, place);
  const worker = p.worker(1);
  await worker.ready;
  const sent = new Map<string, Name>();
  for (const name of NAMES)
    for (const source of HOSTS[name]) {
      const id = `01HZX3V9Q0000${String(sent.size).padStart(3, '0')}`;
      sent.set(id, name);
      const isBox = source === '198.51.100.77';
      const network = isBox ? 'crimson-net' : `${name}-net`;
      const whose = {
        network: isBox ? 'azure-net' : network,
        tenant: ownerOf(name),
        subscriber: isBox ? 'azure-box' : undefined,
      };
      const said = {
        sender: `${name}@mail.example`,
        identity: `${name}-script`,
        helo: `${name}.example`,
        reply: `550 ${name}`,
        upstreamReply: `550 ${name} is listed by us`,
        upstream: `mx.${name}.example`,
      };
      worker.record(
        attempt({
          id,
          session: id,
          at: Date.now(),
          source,
          verdict: 'reject',
          class: 'upstream.reply',
          ...whose,
          ...said,
        }),
      );
    }
  await worker.close();
  for (const name of NAMES) {
    const [host = ''] = HOSTS[name];
    await p.ask({
      of: 'lock',
      lock: { subject: host, how: 'reject', reason: `${name} lock`, who: 'root', until: undefined },
    });
    await p.ask({
      of: 'step',
      step: { subject: host, mode: 'observe', reason: `${name} step`, who: 'root', until: undefined },
    });
    await p.ask({
      of: 'step',
      step: { subject: `network:${name}-net`, mode: 'observe', reason: `${name} net`, who: 'root', until: undefined },
    });
  }
  await p.ask({
    of: 'lock',
    lock: { subject: '@azure-box', how: 'reject', reason: 'azure box', who: 'root', until: undefined },
  });
  await p.ask({
    of: 'lock',
    lock: { subject: 'tenant:azure', how: 'reject', reason: 'azure all', who: 'root', until: undefined },
  });

  for (const own of ['crimson', 'azure'] as const) {
    const added = await p.ask({
      of: 'token-add',
      name: `t-${own}`,
      role: 'read',
      until: undefined,
      from: undefined,
      tenant: own,
      who: 'test',
    });
    const token = bearer((added as { readonly token: string }).token);
    const others = NAMES.filter((name) => name !== own);
    const asks: readonly string[] = [
      ...routes.filter(({ method, path }) => method === 'GET' && !path.includes(':')).map(({ path }) => path),
      ...['identity', 'subscriber', 'source', 'network', 'sender'].map((by) => `/api/top?by=${by}`),
      ...others.map((other) => `/api/log?tenant=${other}`),
      ...others.flatMap((other) =>
        HOSTS[other].flatMap((host) => [`/api/log?source=${host}`, `/api/history?source=${host}`]),
      ),
      '/api/log?source=0.0.0.0/0',
      '/api/log?sender=azure@mail.example',
      '/api/log?class=upstream',
      '/api/receivers',
    ];
    for (const path of asks) {
      const { text } = await p.send('GET', path, token);
      // What was asked for is repeated nowhere but in a refusal, and classes are everybody's.
      for (const other of others)
        if (path !== '/api/classes') assert.doesNotMatch(text, MARKS[other], `${path} for ${own}`);
    }
    for (const [id, name] of sent)
      assert.equal(
        (await p.send('GET', `/api/messages/${id}`, token)).status,
        name === own ? 200 : 404,
        `${id} for ${own}`,
      );
    for (const name of NAMES)
      for (const host of HOSTS[name])
        assert.equal(
          (await p.send('GET', `/api/senders/${host}`, token)).status,
          name === own ? 200 : 404,
          `${host} for ${own}`,
        );

    const rows = async (path: string): Promise<readonly Record<string, unknown>[]> => {
      const json: unknown = (await p.send('GET', path, token)).json();
      return (Array.isArray(json) ? json : (json as { rows: [] }).rows) as Record<string, unknown>[];
    };
    assert.deepEqual(new Set((await rows('/api/log')).map((row) => row['source'])), new Set(HOSTS[own]));
    assert.deepEqual(new Set((await rows('/api/top?by=source')).map((row) => row['who'])), new Set(HOSTS[own]));
    assert.equal((await rows('/api/history'))[0]?.['rejected'], HOSTS[own].length);
    const { listings } = (await p.send('GET', '/api/receivers', token)).json() as unknown as { listings: [] };
    assert.equal(listings.length, 2);
    assert.equal((await rows('/api/locks')).length, own === 'crimson' ? 1 : 3);
    assert.equal((await rows('/api/steps')).length, 2);
    assert.equal((await rows('/api/locks/history')).length, own === 'crimson' ? 1 : 3);
    const events = await fetch(`${p.url}/api/events`, { headers: token });
    const { value } = await (events.body as ReadableStream<Uint8Array>).getReader().read();
    const event = Buffer.from(value ?? []).toString();
    assert.match(event, MARKS[own]);
    for (const other of others) assert.doesNotMatch(event, MARKS[other], `events for ${own}`);
  }
});

test('who is bound to a tenant changes nothing, and the tenant is one of the configuration', async (t) => {
  const place = makePlace();
  place.write({ networks: NETWORKS });
  const p = await startPanel(t, undefined, place);
  const user = { of: 'user-add', name: 'anna', role: 'read', password: PASSWORD, who: 'test' } as const;
  await assert.rejects(p.ask({ ...user, role: 'operate', tenant: 'crimson' }), /has the role "read"/);
  await assert.rejects(p.ask({ ...user, tenant: 'green' }), /no network and no subscriber has the tenant "green"/);
  await p.ask({ ...user, tenant: 'crimson' });
  const session = await p.logIn('anna');
  assert.equal((await p.send('GET', '/api/me', session)).json()['tenant'], 'crimson');
  assert.equal((await p.send('POST', '/api/locks', session, { subject: '198.51.100.7', reason: 'x' })).status, 403);
});
