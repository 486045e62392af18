/** The fault matrix, towards the relay: whatever the far server does, at whatever stage. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { count } from '../../kit/tier.ts';
import { makeCertificate } from '../../fake/certificate.ts';
import { type FakeOptions, type Misbehaviour, type Stage, STAGES } from '../../fake/upstream.ts';
import { type Bench, codeOf, deliver, fakeFor, relayFor, said, type Settings } from './setup.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-faults-'));
after(() => rmSync(directory, { recursive: true }));
const tls = makeCertificate(directory, 'fake', 'IP:127.0.0.1');

const HOW: Readonly<Record<string, Misbehaviour>> = {
  hang: 'hang',
  rst: 'rst',
  fin: 'fin',
  '421': { reply: '421 4.3.2 closing' },
  '451': { reply: '451 4.3.0 later' },
  '550': { reply: '550 5.7.1 no' },
  garbage: 'garbage',
  huge: 'huge',
  drip: 'drip',
  extra: 'extra',
  'extra-first': 'extra-first',
  'wrong-code': 'wrong-code',
};
type Cell = { readonly stage: Stage; readonly name: string; readonly how: Misbehaviour };
const CELLS: readonly Cell[] = [
  ...STAGES.flatMap((stage) => Object.entries(HOW).map(([name, how]) => ({ stage, name, how }))),
  { stage: 'data', name: 'early', how: 'early' },
  { stage: 'dot', name: 'accept-rst', how: 'accept-rst' },
  { stage: 'dot', name: 'accept-hang', how: 'accept-hang' },
];

/** Stages after the message: nothing there may touch it. */
const HARMLESS: readonly Stage[] = ['quit', 'rset'];
function settingsOf({ name, stage }: Cell): Settings {
  const isSlow = ['hang', 'drip', 'accept-hang'].includes(name) && !HARMLESS.includes(stage);
  return { ...SETTINGS, ...LONG, ...(isSlow ? shortOf(stage) : {}) };
}

/** The server has taken the message, and the relay cannot know. */
const TAKEN_UNSEEN = ['extra', 'extra-first', 'accept-rst', 'accept-hang'];
const DIALLING: readonly Stage[] = ['connect', 'banner', 'ehlo', 'starttls', 'auth'];

// The deadline that is to pass is short, all others long, so that a busy machine changes nothing.
function shortOf(stage: Stage): Settings {
  if (DIALLING.includes(stage)) return { connectTimeout: 4000 };
  return stage === 'dot' ? { finalTimeout: 2000 } : { replyTimeout: 4000 };
}
const LONG = { connectTimeout: 20_000, replyTimeout: 20_000, finalTimeout: 20_000 };
const SETTINGS = {
  tls: 'verify',
  caFile: tls.certPath,
  username: 'gw1',
  passwordFile: '/none',
  readPassword: () => 'secret',
} as const;
const FAKE: FakeOptions = { tls, auth: { username: 'gw1', password: 'secret' }, dripMs: 600 };

// Larger than all socket buffers on the way, so that a fault mid-body happens while the body is being sent.
const LARGE = Buffer.alloc(12_000_000, `${'x'.repeat(998)}\r\n`);

function message(id: string, stage: Stage): Buffer {
  const head = Buffer.from(`Message-ID: <${id}>\r\nFrom: <a@example.net>\r\n\r\n`);
  return stage === 'body' ? Buffer.concat([head, LARGE]) : head;
}

/** Runs `work` on each cell, many at a time; those with large bodies by themselves, as they keep the processor busy. */
async function sideBySide(work: (cell: Cell) => Promise<void>): Promise<void> {
  const isLarge = ({ stage }: Cell): boolean => stage === 'body';
  for (const [cells, atOnce] of [
    [CELLS.filter((cell) => !isLarge(cell)), 20],
    [CELLS.filter(isLarge), 3],
  ] as const) {
    const left = [...cells];
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let cell = left.shift(); cell !== undefined; cell = left.shift()) await work(cell);
      }),
    );
  }
}

test('a fault in any cell of the matrix: an answer in time, and 250 exactly when the message has arrived', async (t) => {
  const perCell = count(1, 100);
  await sideBySide(async ({ stage, name, how }) => {
    const fake = await fakeFor(t, {
      ...FAKE,
      misbehave: (moment) => (moment.stage === stage ? how : undefined),
    });
    for (let i = 0; i < perCell; i++) {
      const cell = `${stage} × ${name}, message ${i}`;
      // A relay for each: the server would be down for the next one.
      const { relay } = relayFor(t, [fake.endpoint], settingsOf({ stage, name, how }));
      const began = performance.now();
      const { recipients, final } = await deliver(relay, ['b', 'c'], message(`${i}@example.net`, stage));
      const tookMs = performance.now() - began;
      assert.ok(tookMs < 60_000, `${cell}: ${tookMs} ms`);

      const hasArrived = fake.messages.some(({ messageId }) => messageId === `<${i}@example.net>`);
      const isTold = final !== undefined && codeOf(final) < 300;
      const isUnseen = stage === 'dot' && TAKEN_UNSEEN.includes(name);
      assert.equal(hasArrived, isTold || isUnseen, `${cell}: told ${final && said(final)}`);
      assert.equal(relay.counters().possibleDuplicates, isDoubtful(stage, name) ? 1 : 0, `${cell}: duplicates`);
      assert.equal(isTold, HARMLESS.includes(stage), `${cell}: told ${final && said(final)}`);
      for (const reply of final ? [...recipients, final] : recipients) {
        const code = codeOf(reply);
        assert.ok(code === 250 || (code >= 400 && code < 600), `${cell}: ${said(reply)}`);
        assert.notEqual(code, 421, `${cell}: ${said(reply)}`);
      }
      const refusal = final ?? recipients[0];
      const isMirrored = ['mail', 'rcpt', 'data', 'dot'].includes(stage) && (name === '451' || name === '550');
      if (isMirrored) assert.equal(refusal && said(refusal), (how as { reply: string }).reply, cell);
      else if (!isTold) assert.equal(refusal?.kind, 'failure', cell);
      await relay.close();
    }
    await fake.close();
  });
});

/** The connection broke, or spoke nonsense, between the dot and the reply; a 421 there is a refusal. */
function isDoubtful(stage: Stage, name: string): boolean {
  return stage === 'dot' && !['421', '451', '550'].includes(name);
}

test('the same with a second server: it takes over before DATA and never after', async (t) => {
  await sideBySide(async ({ stage, name, how }) => {
    const cell = `${stage} × ${name}`;
    const first = await fakeFor(t, {
      ...FAKE,
      misbehave: (moment) => (moment.stage === stage ? how : undefined),
    });
    const second = await fakeFor(t, FAKE);
    const { relay } = relayFor(t, [first.endpoint, second.endpoint], settingsOf({ stage, name, how }));
    const { recipients, final } = await deliver(relay, ['b', 'c'], message('1@example.net', stage));
    const isMirrored = name === '451' || name === '550';
    const isEnvelope = stage === 'mail' || stage === 'rcpt';
    // One who does not answer in time has used up the time that there was: only who is asked next gets another server.
    const isTooSlow = isEnvelope && (name === 'hang' || name === 'drip');
    const takesOver = DIALLING.includes(stage) || (isEnvelope && !isMirrored);
    const told = recipients.map((reply) => codeOf(reply) === 250);
    if (isTooSlow) assert.deepEqual(told, [false, true], cell);
    assert.deepEqual(
      second.messages.map((one) => one.recipients.length),
      takesOver ? [isTooSlow ? 1 : 2] : [],
      cell,
    );
    assert.equal(final !== undefined && codeOf(final) === 250, takesOver || HARMLESS.includes(stage), cell);
    await relay.close();
    await Promise.all([first.close(), second.close()]);
  });
});

test('nobody listens: refused at once, and told which server and why', async (t) => {
  const fake = await fakeFor(t);
  const { endpoint } = fake;
  await fake.close();
  const { relay } = relayFor(t, [endpoint]);
  const { recipients } = await deliver(relay);
  assert.match(recipients.map(said).join(), new RegExp(`^upstream\\.down: ${endpoint}: connect ECONNREFUSED`));
});

test('a server that does not complete the handshake of TCP', async (t) => {
  // A stopped process with a full queue of connections: the kernel drops what else comes.
  const script = `const s = require('node:net').createServer(); s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.stdout.write(String(s.address().port)); setTimeout(() => process.kill(process.pid, 'SIGSTOP')); });`;
  const child: ChildProcess = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [port] = (await once(child.stdout!, 'data')) as [Buffer];
  const fillers: Socket[] = [];
  t.after(() => {
    for (const socket of fillers) socket.destroy();
  });
  for (let isFull = false; !isFull; ) {
    const socket = connect({ port: Number(port), host: '127.0.0.1' });
    fillers.push(socket);
    socket.on('error', () => {});
    isFull = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(resolve, 300, true)),
    ]);
    assert.ok(fillers.length < 100);
  }
  const { relay } = relayFor(t, [`127.0.0.1:${Number(port)}`], { connectTimeout: 300 });
  const { recipients } = await deliver(relay);
  assert.match(recipients.map(said).join(), /^upstream\.down: .*not ready within 300 ms/);
});

test('dot × accept-rst on every second connection, hosts that try again: none lost, each duplicate counted', async (t) => {
  let resets = 0;
  const fake = await fakeFor(t, {
    misbehave: ({ stage, connection }) => {
      if (stage !== 'dot' || connection % 2 === 1) return undefined;
      resets++;
      return 'accept-rst';
    },
  });
  const bench: Bench = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  const total = count(100, 1000);
  for (let i = 0; i < total; i++) {
    const bytes = message(`${i}@example.net`, 'dot');
    let told = 0;
    // The odd connections take any number of messages; a reset brings an even one next.
    if (i % 3 === 0) fake.reset();
    for (let tries = 0; told !== 250; tries++) {
      assert.ok(tries < 10, `message ${i}`);
      const { final } = await deliver(bench.relay, ['b'], bytes);
      told = final ? codeOf(final) : 451;
    }
  }
  const arrived = fake.messages.map(({ messageId }) => messageId);
  assert.equal(new Set(arrived).size, total);
  assert.ok(resets > 10, `${resets} resets`);
  assert.equal(arrived.length - total, resets);
  assert.equal(bench.relay.counters().possibleDuplicates, resets);
});
