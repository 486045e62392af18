/** The API over HTTP: who may ask what, what is written down, and what a wrong question is told. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Role } from '../../src/ledger/language.ts';
import { loadAssets } from '../../src/panel/assets.ts';
import { type PanelRow, rowsOf } from '../../src/panel/panel.ts';
import type { Checked } from '../../src/panel/config-room.ts';
import { routes } from '../../src/panel/routes.ts';
import type { Listing, LogAnswer } from '../../src/record/query.ts';
import { Failures, LogIns } from '../../src/panel/sessions.ts';
import { Audit, type AuditLine } from '../../src/panel/audit.ts';
import { attempt } from '../unit/ledger/sample.ts';
import { testClock } from '../kit/clock.ts';
import { makePlace, stageKeeper } from '../kit/keeper.ts';
import { serverOfNext } from '../kit/http-server.ts';
import { bearer, PASSWORD, startPanel } from './setup.ts';

const ROLES: readonly Role[] = ['read', 'operate', 'admin'];

/** A question to each route that is right. */
const RIGHT: Readonly<Record<string, readonly [path: string, body?: unknown]>> = {
  'GET /api/messages/:id': ['/api/messages/0000000000000000'],
  'GET /api/senders/:address': ['/api/senders/198.51.100.7'],
  'POST /api/locks': ['/api/locks', { subject: '198.51.100.9', reason: 'x' }],
  'DELETE /api/locks': ['/api/locks?subject=198.51.100.9'],
  'POST /api/steps': ['/api/steps', { subject: '198.51.100.9', mode: 'block', reason: 'x' }],
  'POST /api/config/check': ['/api/config/check', { text: '' }],
  'POST /api/config/apply': ['/api/config/apply', { text: '', for: '5m' }],
  'DELETE /api/steps': ['/api/steps?subject=198.51.100.9'],
};

/** Every row that the server answers, whether it is one of the API's own table or not. */
async function allRows(): Promise<readonly PanelRow[]> {
  const nothing = {} as never;
  return rowsOf(await loadAssets(), nothing, nothing, nothing);
}

/** What needs nobody to be logged in: the page, its files, what a class means, the unlock of one's own line, and the way in. */
const FOR_EVERYBODY =
  /^(?:GET \/|GET \/assets\/.*|GET \/classes\/(?::class)?|POST \/classes\/:class|POST \/api\/login|GET \/api\/me)$/;

test('Shows 2: role × route, complete: who may not is refused, and nobody without a token gets anything', async (t) => {
  const p = await startPanel(t);
  const tokens = new Map<Role, string>();
  for (const role of ROLES) tokens.set(role, await p.addToken(role, role));
  const rows = await allRows();
  const names = rows.map(({ method, path }) => `${method} ${path}`);
  assert.equal(new Set(names).size, names.length);
  for (const name of Object.keys(RIGHT)) assert.ok(names.includes(name), name);
  for (const { method, path, role } of routes)
    assert.equal(rows.find((row) => row.method === method && row.path === path)?.needs, role);
  for (const { method, path, needs } of rows) {
    const name = `${method} ${path}`;
    assert.equal(needs === undefined, FOR_EVERYBODY.test(name), name);
    if (needs === undefined) continue;
    const [asked, body] = RIGHT[name] ?? [path];
    assert.equal((await p.send(method, asked, {}, body)).status, 401, `${name} by nobody`);
    assert.equal((await p.send(method, asked, bearer('pst_x'), body)).status, 401, `${name} with a token of nobody's`);
    for (const role of ROLES) {
      const status: number = await p.statusOf(method, asked, bearer(tokens.get(role) ?? ''), body);
      const may: boolean = ROLES.indexOf(role) >= ROLES.indexOf(needs);
      assert.equal(status !== 403 && status !== 401, may, `${name} by ${role}: ${status}`);
    }
  }
});

test('Shows 2: what a page of another site sends is refused, whichever route: without the word, or with its origin', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'admin');
  const token = await p.addToken('all', 'admin');
  const { cookie = '', 'x-postern-csrf': word = '' } = await p.logIn('anna');
  const rows = (await allRows()).filter(({ path }) => path.startsWith('/api/'));
  let changes = 0;
  for (const { method, path, needs } of rows) {
    const [asked, body] = RIGHT[`${method} ${path}`] ?? [path];
    for (const origin of ['https://evil.example', 'null', `${p.url}.evil.example`])
      for (const who of [{}, bearer(token), { cookie, 'x-postern-csrf': word }])
        assert.equal(
          (await p.send(method, asked, { ...who, origin }, body)).status,
          403,
          `${method} ${path} ${JSON.stringify({ ...who, origin })}`,
        );
    if (method === 'GET' || needs === undefined) continue;
    changes++;
    for (const headers of [{ cookie }, { cookie, 'x-postern-csrf': 'guessed' }, { cookie, 'x-postern-csrf': '' }])
      assert.equal((await p.send(method, asked, headers, body)).status, 403, `${method} ${path}`);
  }
  assert.ok(changes >= 5);
  const form = await p.send(
    'POST',
    '/api/login',
    { 'content-type': 'text/plain' },
    `{"name":"anna","password":"${PASSWORD}"}`,
  );
  assert.equal(form.status, 415);
  const own = { cookie, 'x-postern-csrf': word, origin: p.url };
  assert.equal((await p.send('POST', '/api/locks', own, { subject: '198.51.100.9', reason: 'x' })).status, 200);
});

test('the cookie is out of reach of scripts and of other sites, and worth nothing after the log-out', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'read');
  assert.deepEqual((await p.send('GET', '/api/me')).json(), {});
  const { headers } = await p.send('POST', '/api/login', {}, { name: 'anna', password: PASSWORD });
  assert.match(headers.get('set-cookie') ?? '', /^postern=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  const behindTls = await p.send(
    'POST',
    '/api/login',
    { 'x-forwarded-proto': 'https' },
    { name: 'anna', password: PASSWORD },
  );
  assert.match(behindTls.headers.get('set-cookie') ?? '', /; Secure$/);
  const session = await p.logIn('anna');
  assert.equal((await p.send('GET', '/api/me', session)).json()['name'], 'anna');
  assert.equal((await p.send('GET', '/api/status', session)).status, 200);
  assert.equal((await p.send('POST', '/api/logout', session)).status, 200);
  assert.equal((await p.send('GET', '/api/status', session)).status, 401);
  assert.deepEqual((await p.send('GET', '/api/me', session)).json(), {});
});

test('whoever is removed is out at once, with the session and with the token', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'admin');
  const session = await p.logIn('anna');
  const token = await p.addToken('graf', 'read');
  assert.equal((await p.send('GET', '/api/status', bearer(token))).status, 200);
  for (const name of ['anna', 'graf']) await p.ask({ of: 'person-remove', name, who: 'test' });
  assert.equal((await p.send('GET', '/api/status', session)).status, 401);
  assert.equal((await p.send('GET', '/api/status', bearer(token))).status, 401);
  await assert.rejects(p.ask({ of: 'person-remove', name: 'anna', who: 'test' }), /there is no user or token "anna"/);
});

test('who is removed and added again, with another password, has no session of before', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'admin');
  const before = await p.logIn('anna');
  await p.ask({ of: 'person-remove', name: 'anna', who: 'test' });
  await p.addUser('anna', 'admin');
  assert.equal((await p.send('GET', '/api/status', before)).status, 401);
  assert.deepEqual((await p.send('GET', '/api/me', before)).json(), {});
  assert.equal((await p.send('GET', '/api/status', await p.logIn('anna'))).status, 200);
});

test('a token holds for its time, and from its prefixes alone', async (t) => {
  const clock = testClock();
  const p = await startPanel(t, clock);
  const here = await p.addToken('here', 'read', ['127.0.0.0/8'], clock.nowMs() + 60_000);
  const elsewhere = await p.addToken('elsewhere', 'read', ['192.0.2.0/24']);
  assert.equal((await p.send('GET', '/api/locks', bearer(here))).status, 200);
  assert.equal((await p.send('GET', '/api/locks', bearer(elsewhere))).status, 401);
  clock.forward(60_000);
  assert.equal((await p.send('GET', '/api/locks', bearer(here))).status, 401);
  await assert.rejects(
    p.ask({ of: 'token-add', name: 'x', role: 'read', until: undefined, from: ['here'], who: 'test' }),
    /"here" is no prefix/,
  );
});

test('passwords and tokens are not in the file, nor in the log', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'admin');
  const token = await p.addToken('graf', 'read');
  await p.logIn('anna');
  const kept =
    readFileSync(join(p.place.stateDir, 'people.json'), 'utf8') +
    readFileSync(join(p.place.stateDir, 'audit.jsonl'), 'utf8');
  for (const secret of [PASSWORD, token]) {
    assert.ok(!kept.includes(secret));
    assert.ok(!JSON.stringify(p.log.entries).includes(secret));
  }
  await assert.rejects(
    p.ask({ of: 'user-add', name: 'bob', role: 'read', password: 'short', who: 'test' }),
    /12 to 1000 characters/,
  );
  await assert.rejects(
    p.ask({ of: 'user-add', name: 'anna', role: 'read', password: PASSWORD, who: 'test' }),
    /"anna" already/,
  );
  await assert.rejects(
    p.ask({ of: 'user-add', name: '../x', role: 'read', password: PASSWORD, who: 'test' }),
    /is no name/,
  );
});

test('guessing ends after ten wrong passwords of an address for a name, for a quarter of an hour', async (t) => {
  const clock = testClock();
  const p = await startPanel(t, clock);
  for (const name of ['anna', 'carl']) await p.addUser(name, 'read');
  const guess = (name: string, password: string) => p.send('POST', '/api/login', {}, { name, password });
  for (let i = 0; i < 10; i++) assert.equal((await guess('anna', `wrong ${i}`)).status, 401);
  const refused = await guess('anna', PASSWORD);
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) > 800);
  assert.equal((await guess('carl', PASSWORD)).status, 200, 'another name from the same address');
  clock.forward(15 * 60_000);
  assert.equal((await guess('anna', PASSWORD)).status, 200);
});

test('who guesses from elsewhere, or with many names, locks out nobody who has come in before', () => {
  const clock = testClock();
  const logIns = new LogIns(new Failures(clock));
  const own = '192.0.2.1';
  logIns.passed('anna', own);
  for (let i = 0; i < 200; i++) logIns.failed('anna', `2001:db8:${i}::/64`);
  assert.ok(logIns.waitMs('anna', '192.0.2.2') > 0, 'from everywhere together, a name has two hundred');
  assert.equal(logIns.waitMs('anna', own), 0);
  for (let i = 0; i < 50; i++) logIns.failed(`name${i}`, '192.0.2.3');
  assert.ok(logIns.waitMs('carl', '192.0.2.3') > 0, 'an address has fifty');
  for (let i = 0; i < 10; i++) logIns.failed('anna', own);
  assert.ok(logIns.waitMs('anna', own) > 0);
  clock.forward(15 * 60_000);
  assert.equal(logIns.waitMs('anna', '192.0.2.2'), 0);
});

test('wrong tokens are told to wait in the end, and never keep a right one out', async (t) => {
  const p = await startPanel(t);
  const token = await p.addToken('graf', 'read');
  for (let i = 0; i < 50; i++) assert.equal((await p.send('GET', '/api/locks', bearer(`pst_${i}`))).status, 401);
  assert.equal((await p.send('GET', '/api/locks', bearer('pst_x'))).status, 429);
  assert.equal((await p.send('GET', '/api/locks', bearer(token))).status, 200);
});

test('a look at messages and every change are written down, with who and from where; the commands too', async (t) => {
  const p = await startPanel(t);
  await p.addUser('anna', 'admin');
  const session = await p.logIn('anna');
  const worker = p.worker(1);
  await worker.ready;
  worker.record(attempt({ id: '01HZX3V9Q00000A1', session: 'S1' }));
  await worker.close();
  const story = await p.send('GET', '/api/messages/01HZX3V9Q00000A1', session);
  assert.deepEqual([story.status, story.json()['complaints']], [200, []]);
  await p.send('GET', '/api/log?source=198.51.100.7', session);
  await p.send('POST', '/api/locks', session, { subject: '198.51.100.9', reason: 'spam run' });
  await p.ask({ of: 'log', filter: { limit: 5 }, who: 'root' });
  await p.ask({ of: 'top', question: { by: 'sender', since: 0, limit: 5 }, who: 'root' });
  // Whoever speaks to the socket without a name is written down as well.
  await p.ask({ of: 'log', filter: { limit: 6 } });
  const audit = (await p.send('GET', '/api/audit', session)).json() as unknown as readonly AuditLine[];
  const lines = audit.map(({ who, from, what, about }) => [who, from, what, about]);
  assert.deepEqual(lines, [
    ['unknown', 'cli', 'log', '{"limit":6}'],
    ['root', 'cli', 'top', '{"by":"sender","since":0,"limit":5}'],
    ['root', 'cli', 'log', '{"limit":5}'],
    ['anna', '127.0.0.1', 'POST /api/locks', '{"subject":"198.51.100.9","reason":"spam run","how":"reject"}'],
    ['anna', '127.0.0.1', 'GET /api/log', '{"source":"198.51.100.7","limit":100}'],
    ['anna', '127.0.0.1', 'GET /api/messages/:id', '01HZX3V9Q00000A1'],
    ['anna', '127.0.0.1', 'POST /api/login', ''],
    ['test', 'cli', 'user-add', 'anna, admin'],
  ]);
});

test('a look that cannot be written down is not given', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'admin'));
  await p.addUser('anna', 'admin');
  const file = join(p.place.stateDir, 'audit.jsonl');
  renameSync(file, `${file}.away`);
  mkdirSync(file);
  const refused = await p.send('GET', '/api/log', token);
  assert.equal(refused.status, 503);
  assert.match(refused.text, /so nothing is shown/);
  await assert.rejects(p.ask({ of: 'log', filter: { limit: 5 }, who: 'root' }));
  assert.equal((await p.send('POST', '/api/login', {}, { name: 'anna', password: PASSWORD })).status, 503);
  assert.equal((await p.send('GET', '/api/status', token)).status, 200, 'what is no look goes on');
  rmSync(file, { recursive: true });
  chmodSync(`${file}.away`, 0o600);
  assert.equal((await p.send('GET', '/api/log', token)).status, 200);
});

test('a line of the record that was cut off spoils no other', (t) => {
  const { stateDir, remove } = makePlace();
  t.after(remove);
  const path = join(stateDir, 'audit.jsonl');
  const line = { who: 'anna', from: 'cli', what: 'log', about: '' };
  new Audit(path, testClock()).write(line);
  appendFileSync(path, '{"at":17,"who":"an');
  const audit = new Audit(path, testClock());
  audit.write({ ...line, who: 'bob' });
  audit.write({ ...line, who: 'carl' });
  assert.deepEqual(
    audit.last(10).map(({ who }) => who),
    ['carl', 'bob', 'anna'],
  );
});

test('a connection that could not be accepted is no reason to listen again', async (t) => {
  const p = await startPanel(t);
  const server = serverOfNext();
  await p.send('GET', '/api/me');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  (await server).emit('error', new Error('accept EMFILE'));
  t.mock.timers.tick(60_000);
  t.mock.timers.reset();
  assert.equal((await p.send('GET', '/api/me')).status, 200);
});

test('a wrong question is told which field is wrong, and what is expected there', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'admin'));
  for (const [method, path, body, field, says] of [
    ['GET', '/api/log?limit=0', undefined, 'limit', /a whole number from 1 to 10000/],
    ['GET', '/api/log?since=yesterday', undefined, 'since', /a whole number/],
    ['GET', '/api/log?nonsense=1', undefined, 'nonsense', /is not known here; there are since, until/],
    ['GET', '/api/log?source=198.51.100.7/8', undefined, 'source', /is no address and no prefix/],
    ['GET', '/api/log?class=nonsense', undefined, 'class', /there is no class "nonsense"/],
    ['GET', '/api/history?step=1000', undefined, 'step', /more than 2000 steps/],
    ['GET', '/api/history?since=0&step=1000000000', undefined, 'since', /go back 35 days/],
    ['GET', '/api/top?since=0', undefined, 'since', /go back 35 days/],
    ['GET', '/api/top?by=colour', undefined, 'by', /one of identity, subscriber/],
    ['GET', '/api/senders/nobody', undefined, 'address', /"nobody" is no address/],
    ['GET', '/api/senders/192.0.2.1', undefined, 'address', /is in no network/],
    ['GET', '/api/messages/0000000000000000', undefined, 'id', /the journal has nothing of it/],
    ['POST', '/api/locks', { subject: '198.51.100.9' }, 'reason', /"reason" is missing/],
    ['POST', '/api/locks', { subject: '0.0.0.0/0', reason: 'x' }, 'subject', /is too wide/],
    ['POST', '/api/locks', { subject: '198.51.100.9', reason: 'x', for: 'long' }, 'for', /no time such as 30m/],
    [
      'POST',
      '/api/locks',
      { subject: '198.51.100.9', reason: 'x', how: 'gently' },
      'how',
      /one of reject, defer, kernel/,
    ],
    ['POST', '/api/locks', { subject: 7, reason: 'x' }, 'subject', /is a string/],
    ['DELETE', '/api/locks', undefined, 'subject', /whom/],
    ['POST', '/api/steps', { subject: 'us', mode: 'block', reason: 'x' }, 'subject', /"us" is no address/],
    ['POST', '/api/steps', { subject: '198.51.100.9', mode: 'shut', reason: 'x' }, 'mode', /one of exempt, observe/],
  ] as const) {
    const { status, json } = await p.send(method, path, token, body);
    assert.deepEqual([Math.floor(status / 100), json()['field']], [4, field], `${method} ${path}`);
    assert.match(json()['error'] as string, says);
  }
  for (const [method, path, body, status] of [
    ['POST', '/api/locks', '{"subject":', 400],
    ['POST', '/api/locks', '[]', 400],
    ['POST', '/api/locks', JSON.stringify({ reason: 'x'.repeat(70_000) }), 413],
    ['POST', '/api/locks', JSON.stringify({ reason: 'x'.repeat(900_000) }), 413],
    ['GET', '/api/nothing', undefined, 404],
    ['GET', '/api/messages/%zz', undefined, 400],
    ['PUT', '/api/locks', '{}', 405],
  ] as const)
    assert.equal((await p.send(method, path, token, body)).status, status, `${method} ${path} ${body?.slice(0, 20)}`);
});

test('locked and unlocked over the API, as by the command; the sender tells of it', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('ops', 'operate'));
  const { json } = await p.send('POST', '/api/locks', token, {
    subject: '2001:db8:1::7',
    reason: 'spam run',
    for: '2h',
  });
  assert.equal((json()['lock'] as { subject: string }).subject, '2001:db8:1::/64');
  const sender = (await p.send('GET', '/api/senders/2001:db8:1::9', token)).json();
  assert.deepEqual([sender['network'], sender['subject']], ['customers', '2001:db8:1::/64']);
  assert.equal((sender['locks'] as unknown[]).length, 1);
  assert.equal((await p.send('DELETE', '/api/locks?subject=2001:db8:1::7', token)).status, 200);
  assert.deepEqual((await p.send('GET', '/api/locks', token)).json(), []);
  const again = await p.send('DELETE', '/api/locks?subject=2001:db8:1::7', token);
  assert.equal(again.status, 409);
  assert.match(again.text, /not locked/);
});

test('a step on the ladder and back, over the API; the sender tells of it', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('ops', 'operate'));
  const modeOf = async (): Promise<unknown> => (await p.send('GET', '/api/senders/198.51.100.7', token)).json()['mode'];
  assert.equal(await modeOf(), 'enforce');
  const step = { subject: '198.51.100.7', mode: 'block', reason: 'spam run', for: '2h' };
  assert.equal((await p.send('POST', '/api/steps', token, step)).status, 200);
  assert.equal(await modeOf(), 'block');
  const [told] = (await p.send('GET', '/api/steps', token)).json() as unknown as { who: string; until: number }[];
  assert.ok(told && told.who === 'ops' && told.until > Date.now());
  assert.equal((await p.send('DELETE', '/api/steps?subject=198.51.100.7', token)).status, 200);
  assert.equal(await modeOf(), 'enforce');
});

test('history: what went which way, in steps of time, of one source or of all', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'read'));
  const worker = p.worker(1);
  await worker.ready;
  const now = Date.now();
  const step = 60_000;
  const begin = now - (now % step) - 10 * step;
  for (const [i, verdict, source] of [
    [0, 'accept', '198.51.100.7'],
    [0, 'reject', '198.51.100.7'],
    [3, 'defer', '198.51.100.8'],
  ] as const)
    worker.record(attempt({ id: `01HZX3V9Q00000A${i}${verdict[0]}`, at: begin + i * step + 5, verdict, source }));
  await worker.close();
  const ask = async (more: string): Promise<unknown[]> => {
    const rows = (
      await p.send('GET', `/api/history?since=${begin}&step=${step}${more}`, token)
    ).json() as unknown as Record<string, number>[];
    return rows.map(({ at = 0, accepted, deferred, rejected }) => [(at - begin) / step, accepted, deferred, rejected]);
  };
  assert.deepEqual(await ask(''), [
    [0, 1, 0, 1],
    [3, 0, 1, 0],
  ]);
  assert.deepEqual(await ask('&source=198.51.100.8'), [[3, 0, 1, 0]]);
});

test('events: how it stands every two seconds, and what was recorded meanwhile', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'read'));
  const end = new AbortController();
  const response = await fetch(`${p.url}/api/events`, { headers: token, signal: end.signal });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const worker = p.worker(1);
  await worker.ready;
  worker.record(attempt({ verdict: 'reject', class: 'spam.gtube' }));
  let text = '';
  let rejected = 0;
  const decoder = new TextDecoder();
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const { status, counts } = JSON.parse(event.replace(/^data: /, ''));
      assert.equal(status.name, 'gw1.example.net');
      rejected += counts.reject;
    }
    if (rejected > 0) break;
  }
  assert.equal(rejected, 1);
  await worker.close();
});

test('who is removed hears no more of it, with the next event', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'read'));
  const response = await fetch(`${p.url}/api/events`, { headers: token });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  assert.equal((await reader.read()).done, false);
  await p.ask({ of: 'person-remove', name: 'graf', who: 'test' });
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  });
});

test('the OpenAPI document has every route with its parameters, and no other', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'read'));
  const { paths, openapi } = (await p.send('GET', '/api/openapi.json', token)).json() as {
    openapi: string;
    paths: Record<string, Record<string, { parameters: { name: string }[] }>>;
  };
  assert.equal(openapi, '3.1.0');
  const told = Object.entries(paths).flatMap(([path, of]) =>
    Object.entries(of).map(
      ([method, { parameters }]) => `${method.toUpperCase()} ${path} ${parameters.map(({ name }) => name).join()}`,
    ),
  );
  const made = routes.map(
    ({ method, path, params = {}, query = {} }) =>
      `${method} ${path.replace(/:(\w+)/, '{$1}')} ${[...Object.keys(params), ...Object.keys(query)].join()}`,
  );
  assert.deepEqual(told.sort(), made.sort());
});

test('the page: nothing of another site, nothing inline; a class is explained to everybody', async (t) => {
  const p = await startPanel(t);
  const page = await p.send('GET', '/');
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /^default-src 'none'; script-src 'self' 'sha256-[\w+/=]{44}'; style-src 'self';/);
  assert.ok(!policy.includes('unsafe'));
  const files = [...page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g), ...page.text.matchAll(/"(\/assets\/[^"]+)"/g)].map(
    (match) => match[1] ?? '',
  );
  assert.ok(files.length > 6);
  for (const file of files) {
    const asset = await p.send('GET', file);
    assert.equal(asset.status, 200, file);
    const again = await fetch(`${p.url}${file}`, { headers: { 'if-none-match': asset.headers.get('etag') ?? '' } });
    assert.equal(again.status, 304, file);
    assert.ok(!/\b(?:src|href|from|import)\s*[=(]?\s*["']https?:/.test(asset.text), `${file} asks another site`);
  }
  const explained = await p.send('GET', '/classes/spam.gtube');
  assert.match(explained.text, /550 5\.7\.1 .*GTUBE/s);
  assert.equal((await p.send('GET', '/classes/no.such')).status, 404);
});

test('a file of people that is damaged lets nobody in, is kept, and is complained of; mail goes on', async (t) => {
  const place = makePlace();
  writeFileSync(join(place.stateDir, 'people.json'), '[{"name":"root"}]');
  const stage = await stageKeeper(undefined, place);
  t.after(() => stage.close());
  assert.deepEqual(await stage.ask({ of: 'people' }), []);
  assert.ok(stage.log.entries.some(({ event }) => event === 'people.damaged'));
  assert.ok(readdirSync(place.stateDir).some((name) => name.startsWith('people.json.damaged-')));
});

test('a configuration is looked at: each mistake with its line, or what would be otherwise; applied only where it may be', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('ops', 'admin'));
  const text = readFileSync(p.place.configPath, 'utf8');
  const worker = p.worker(1);
  await worker.ready;
  for (let i = 0; i < 3; i++)
    worker.record(attempt({ id: `01HZX3V9Q00000A${i}`, at: Date.now() - 1000 + i, helo: 'host.example' }));
  await worker.close();
  const check = async (to: string) =>
    (await p.send('POST', '/api/config/check', token, { text: to })).json() as Checked;
  const wrong = await check(`${text}nonsense = 1\n`);
  assert.ok(!wrong.ok);
  assert.deepEqual(
    wrong.errors.map(({ line, key }) => [line, key]),
    [[text.split('\n').length, 'subscriber[0].nonsense']],
  );
  assert.ok(wrong.errors[0]?.expected);
  // A search has them written first.
  assert.equal(((await p.ask({ of: 'log', filter: { limit: 9 } })) as LogAnswer).rows.length, 3);
  const right = await check(
    text.replace('max_connections = 3', 'limit_messages = ["1/hour"]\nmode = "smarthost-only"'),
  );
  assert.ok(right.ok);
  assert.ok(
    right.settings.some((line) => /^\+ limit_messages += \["1\/hour"\]/.test(line)),
    right.settings.join('\n'),
  );
  assert.ok(
    right.rules.some((line) => /^[+-] /.test(line)),
    right.rules.join('\n'),
  );
  assert.deepEqual('sums' in right.predicted && right.predicted.sums, { attempts: 3, gone: 2, withoutAddresses: 0 });
  const same = await check(`# said differently\n${text}`);
  assert.deepEqual(same.ok && [same.settings, same.rules], [[], []]);
  const refused = await p.send('POST', '/api/config/apply', token, { text, for: '5m' });
  assert.equal(refused.status, 409);
  assert.match(refused.text, /panel\.apply is not set/);
  assert.equal((await p.send('POST', '/api/config/apply', token, { text, for: '2d' })).status, 400);
  const shown = (await p.send('GET', '/api/config', token)).json();
  assert.match(String(shown['effective']), /max_connections += 3/);
  assert.deepEqual(
    readdirSync(p.place.stateDir).filter((name) => /candidate|wish/.test(name)),
    [],
  );
});

test('how receivers see us: what each took of what a prefix offered; a block list that one names is told of once', async (t) => {
  const p = await startPanel(t);
  const token = bearer(await p.addToken('graf', 'read'));
  const worker = p.worker(1);
  await worker.ready;
  const listed = {
    verdict: 'reject',
    class: 'upstream.reply',
    upstreamReply: '550 5.7.1 blocked using zen.spamhaus.org',
  } as const;
  for (const [i, [source, recipient, change]] of (
    [
      ['198.51.100.7', 'bob@gmail.com', {}],
      ['198.51.100.8', 'bob@googlemail.com', {}],
      ['198.51.100.8', 'bob@gmail.com', listed],
      ['198.51.100.9', 'bob@gmail.com', listed],
      ['198.51.100.9', 'bob@gmail.com', { verdict: 'reject', class: 'spam.gtube' }],
      [
        '2001:db8:1::7',
        'bob@example.org',
        { verdict: 'defer', class: 'upstream.reply', upstreamReply: '450 4.2.1 later' },
      ],
    ] as const
  ).entries()) {
    const code = 'verdict' in change ? (change.verdict === 'defer' ? 450 : 550) : 250;
    const recipients = [
      { recipient: `<${recipient}>`, code, class: 'class' in change ? change.class : ('accepted.clean' as const) },
    ];
    worker.record(attempt({ id: `01HZX3V9Q00000C${i}`, at: Date.now(), source, recipients, ...change }));
  }
  await worker.close();
  const told = (await p.send('GET', '/api/receivers', token)).json() as unknown as {
    rows: readonly object[];
    listings: readonly Listing[];
  };
  assert.deepEqual(told.rows, [
    { prefix: '198.51.100.0/24', receiver: 'google', accepted: 2, deferred: 0, rejected: 2 },
    { prefix: '2001:db8:1::/48', receiver: 'others', accepted: 0, deferred: 1, rejected: 0 },
  ]);
  assert.deepEqual(
    told.listings.map(({ prefix, list, count, id }) => [prefix, list, count, id]),
    [['198.51.100.0/24', 'spamhaus', 2, '01HZX3V9Q00000C3']],
  );
  assert.equal(p.log.entries.filter(({ event }) => event === 'listing.named').length, 1);
});
