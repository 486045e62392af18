/**
 * A worker is killed at 20 points of a message's way. Hosts send again until they are told 250; then what they were told
 * is compared with what the smarthost took: nothing that was accepted is lost, and nothing arrives twice but at the one
 * point where SMTP cannot tell, between the smarthost's 250 and ours.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeUpstream, type Moment, startFakeUpstream, type Misbehaviour } from '../fake/upstream.ts';
import { Client, codeOf, Gone } from '../kit/client.ts';
import { count } from '../kit/tier.ts';
import { startWorker, type TestWorker } from '../kit/worker.ts';

/** Where the host is when the worker dies. */
const HOST_POINTS = [
  'connect',
  'banner',
  'ehlo',
  'mail',
  'rcpt',
  'data',
  'half-body',
  'body',
  'dot',
  'told',
  'rset',
  'quit',
] as const;
/** What the smarthost has heard when the worker dies. `accept`: it has said 250, which we have not passed on. */
const SERVER_POINTS = [
  'server-connect',
  'server-ehlo',
  'server-mail',
  'server-rcpt',
  'server-data',
  'server-body',
  'server-dot',
  'accept',
] as const;
type Point = (typeof HOST_POINTS)[number] | (typeof SERVER_POINTS)[number];

const KILLS = count(1, 10);
const HOSTS = 5;
const MAX_TRIES = 8;
const BODY = `From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n`;

let fake: FakeUpstream;
let worker: TestWorker;
/** of the round that is on: how many of the hosts have come to its point; undefined when it has had its kill */
let round: { readonly point: Point; arrived: number; readonly needed: number; readonly killed: () => void } | undefined;

function arrive(point: Point): boolean {
  if (round?.point !== point) return false;
  round.arrived++;
  if (round.arrived >= round.needed) {
    const { killed } = round;
    round = undefined;
    worker.kill();
    killed();
  }
  return true;
}

function misbehave({ stage }: Moment): Misbehaviour | undefined {
  if (stage === 'connect' || stage === 'ehlo') {
    arrive(`server-${stage}`);
    return undefined;
  }
  if (stage === 'dot') return arrive('accept') ? 'accept-hang' : arrive('server-dot') ? 'hang' : undefined;
  // So that the host's own point is reached by all before any of their messages goes further.
  if (stage === 'data' && round?.point === 'dot') return 'hang';
  if (stage === 'mail' || stage === 'rcpt' || stage === 'data' || stage === 'body') {
    return arrive(`server-${stage}`) ? 'hang' : undefined;
  }
  return undefined;
}

/** One try to send; true when it was told 250. `pause` stops at the round's point until the worker is dead. */
async function send(id: string, killed: Promise<void>): Promise<boolean> {
  const at = async (point: Point): Promise<void> => {
    if (arrive(point)) await killed;
  };
  let client: Client | undefined;
  let told = false;
  try {
    client = await Client.connect(worker.port);
    await at('connect');
    if (codeOf(await client.reply()) !== 220) return false;
    await at('banner');
    for (const [line, point] of [
      ['EHLO a.example', 'ehlo'],
      ['MAIL FROM:<a@a.example>', 'mail'],
      ['RCPT TO:<b@b.example>', 'rcpt'],
      ['DATA', 'data'],
    ] as const) {
      if (codeOf(await client.ask(line)) >= 400) return false;
      await at(point);
    }
    client.write(`${BODY}Message-ID: <${id}>\r\n`);
    await at('half-body');
    client.write('\r\nhello\r\n');
    await at('body');
    client.write('.\r\n');
    await at('dot');
    told = codeOf(await client.reply()) === 250;
    await at('told');
    await client.ask('RSET');
    await at('rset');
    client.write('QUIT\r\n');
    await at('quit');
    await client.reply();
    return told;
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    return told;
  } finally {
    client?.close();
  }
}

async function sendUntilTold(id: string, killed: Promise<void>): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    if (await send(id, killed)) return;
    await worker.ready();
  }
  assert.fail(`${id} was not accepted in ${MAX_TRIES} tries`);
}

describe('Shows 3: kill -9 of a worker', () => {
  before(async () => {
    fake = await startFakeUpstream({ misbehave });
    worker = await startWorker([fake.endpoint]);
  });
  after(async () => {
    await worker.close();
    await fake.close();
  });

  const all: readonly Point[] = [...HOST_POINTS, ...SERVER_POINTS];
  for (const point of all) {
    test(`at "${point}", ${KILLS * HOSTS} messages: none lost${point === 'accept' ? '' : ', none twice'}`, async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        const { promise: killed, resolve } = Promise.withResolvers<void>();
        const startsBefore = worker.starts;
        const atDial = point === 'server-connect' || point === 'server-ehlo';
        round = { point, arrived: 0, needed: atDial ? 1 : HOSTS, killed: resolve };
        // The smarthost is dialled when a worker starts: the kill comes in its first moments.
        if (atDial) worker.kill();
        const ids = Array.from({ length: HOSTS }, (_, i) => `${point}.${kill}.${i}@a.example`);
        await Promise.all(ids.map((id) => sendUntilTold(id, killed)));
        await worker.ready();
        assert.equal(round, undefined, 'all came to the point');
        assert.ok(worker.starts > startsBefore, 'the worker was killed and started again');
        for (const id of ids) {
          const taken = fake.messages.filter(({ messageId }) => messageId === `<${id}>`).length;
          assert.ok(taken >= 1, `${id}: the host was told 250, the smarthost has nothing`);
          assert.equal(taken, point === 'accept' ? 2 : 1, `${id}: taken ${taken} times`);
        }
      }
    });
  }
});
