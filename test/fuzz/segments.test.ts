/**
 * However the bytes of a session are cut into segments, a host hears the same and the far side gets the same, and both are
 * what a model says that shares no code with the gateway.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { FakeRelay } from '../fake/relay.ts';
import { startFakeUpstream } from '../fake/upstream.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { randomFrom } from '../kit/random.ts';
import { count, seed } from '../kit/tier.ts';
import { cutAt, cuts, sessions } from './dialogs.ts';
import { hear } from './hear.ts';
import { expected, type Expected, type Limits, Unknown } from './model.ts';

const LIMITS: Limits = { errors: 6, recipients: 100, commandBytes: 2048, lineBytes: 998, sizeBytes: 3000 };
const CONFIG = { limits: 'errors = 6\nbody_line = "998B"\nmessage_size = "3000B"\nbody_memory = "300B"' };

type Outcome = { readonly said: string; readonly arrived: readonly string[] };

let relay: FakeRelay;
let gateway: TestGateway;

before(async () => {
  relay = new FakeRelay();
  gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], CONFIG), relay });
});
after(() => gateway.close());

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One session of these segments. `isPaced`: each is read, and what it led to done, before the next one comes. */
async function play(at: TestGateway, segments: readonly string[], isPaced: boolean): Promise<string> {
  const host = at.connect();
  const heard = hear(host);
  await heard.until(/\n/);
  for (const segment of segments) {
    host.write(Buffer.from(segment, 'latin1'));
    // Two turns: the answers of the far side come in the first.
    if (isPaced) await nextTurn().then(nextTurn);
  }
  host.end();
  return normal(await heard.end());
}

async function outcomeOf(segments: readonly string[], isPaced: boolean): Promise<Outcome> {
  relay.messages.length = 0;
  const said = await play(gateway, segments, isPaced);
  return {
    said,
    arrived: relay.messages.map(({ from, recipients, trace, body }) => shown(from, recipients, trace, body)),
  };
}

function shown(from: string, recipients: readonly string[], trace: string, body: Buffer): string {
  return [from, recipients.join(','), normal(trace), body.toString('latin1')].join('\n');
}

/** Without ids and times. */
function normal(text: string): string {
  return text.replace(/\bid[= ][0-9A-Z]+/g, 'id').replace(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000/g, 'DATE');
}

/** Every reply as code and class of our own. */
function repliesOf(said: string): string[] {
  return said
    .split('\r\n')
    .filter((line) => /^\d{3}( |$)/.test(line))
    .map((line) => [line.slice(0, 3), /\[([a-z]+\.[a-z0-9-]+) id /.exec(line)?.[1]].filter(Boolean).join(' '));
}

function modelOf(text: string): Expected | undefined {
  try {
    return expected(text, LIMITS);
  } catch (error) {
    if (error instanceof Unknown) return undefined;
    throw error;
  }
}

const share = fc.double({ min: 0, max: 1, noNaN: true });
const RUNS = count(250, 100_000);

test(`the same bytes in any segments: the same replies, the same messages, those of the model (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(sessions(), share, share, share, cuts, async (text, one, two, three, many) => {
      const model = modelOf(text);
      fc.pre(model !== undefined);
      relay.turns = () => 0;
      const random = randomFrom(text.length);
      const whole = await outcomeOf([text].filter(Boolean), true);
      assert.deepEqual(repliesOf(whole.said), model.replies, 'the model');
      assert.deepEqual(
        whole.arrived.map((one) => one.split('\n')[0] + one.slice(one.indexOf('DATE') + 4).replace(/^\r\n\n/, ' ')),
        model.messages.map(({ from, body }) => `${from} ${body}`),
        'what arrived',
      );
      for (const how of [[one], [two, three], many] as const) {
        const segments = cutAt(text, how);
        for (const isPaced of [true, false]) {
          // Recipients may be answered late, and the later one before the earlier.
          relay.turns = isPaced ? () => 0 : () => random.below(4);
          assert.deepEqual(await outcomeOf(segments, isPaced), whole, JSON.stringify(segments));
        }
      }
    }),
    { seed, numRuns: RUNS },
  );
});

test(`the same over real connections to a far server (seed ${seed})`, async () => {
  const fake = await startFakeUpstream();
  const real = await startGateway({ config: await testConfig([fake.endpoint], CONFIG) });
  try {
    await fc.assert(
      fc.asyncProperty(sessions(1), cuts, async (text, how) => {
        const outcomes: Outcome[] = [];
        for (const segments of [[text].filter(Boolean), cutAt(text, how)]) {
          const seen = fake.messages.length;
          const said = await play(real, segments, false);
          const arrived = fake.messages
            .slice(seen)
            .map(({ from, recipients, body }) =>
              shown(from, recipients, '', Buffer.from(normal(body.toString('latin1')), 'latin1')),
            );
          outcomes.push({ said: said.replace(/taken as \d+/g, 'taken'), arrived });
        }
        assert.deepEqual(outcomes[1], outcomes[0]);
      }),
      { seed, numRuns: count(100, 5000) },
    );
  } finally {
    await real.close();
    await fake.close();
  }
});
