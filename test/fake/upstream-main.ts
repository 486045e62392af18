/**
 * The fake far server as a process of its own, for namespaces and crash tests. One JSON line for each event.
 *
 *     node test/fake/upstream-main.ts --listen 203.0.113.87:587 --listen [2001:db8:2::87]:587 --record FILE \
 *          --fault dot=accept-rst --fault "rcpt=550 5.1.1 unknown" --capability "SIZE 1000" --tls DIR --name DNS:mx.example.net
 *
 *     --record FILE      the lines of accepted messages go there as well, each written before its 250
 *     --fault STAGE=WHAT misbehave at that stage; WHAT is a word of fake/upstream.ts or a reply beginning with its code
 *     --every N          only every N-th connection misbehaves
 *     --capability LINE  instead of the usual ones; may be repeated
 *     --tls DIR          offer STARTTLS with a certificate made in DIR for each --name
 *     --rate BYTES       how many bytes of bodies to read in a second
 *     --quiet            print "listening" and accepted messages only
 */
import { appendFileSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { makeCertificate } from './certificate.ts';
import {
  type FakeEvent,
  type FakeOptions,
  type Misbehaviour,
  type Stage,
  STAGES,
  startFakeUpstream,
} from './upstream.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: ['127.0.0.1:0'] },
    record: { type: 'string' },
    fault: { type: 'string', multiple: true, default: [] },
    every: { type: 'string', default: '1' },
    capability: { type: 'string', multiple: true },
    tls: { type: 'string' },
    name: { type: 'string', multiple: true, default: ['IP:127.0.0.1'] },
    rate: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
});

const faults = new Map<Stage, Misbehaviour>();
for (const text of values.fault) {
  const [stage = '', what = ''] = text.split(/=(.*)/s);
  if (!STAGES.includes(stage as Stage)) throw new Error(`--fault ${text}: the stages are ${STAGES.join(', ')}`);
  faults.set(stage as Stage, /^\d/.test(what) ? { reply: what } : (what as Misbehaviour));
}

function print(event: FakeEvent): void {
  if (values.quiet && event.event !== 'listening' && event.event !== 'message') return;
  const line = `${JSON.stringify(event.event === 'message' ? { ...event, body: undefined } : event)}\n`;
  if (event.event === 'message' && values.record) appendFileSync(values.record, line);
  writeSync(1, line);
}

const options: FakeOptions = {
  misbehave: ({ stage, connection }) => (connection % Number(values.every) === 0 ? faults.get(stage) : undefined),
  onEvent: print,
  ...(values.capability && { capabilities: values.capability }),
  ...(values.tls && { tls: makeCertificate(values.tls, 'fake', ...values.name) }),
  ...(values.rate && { readBytesPerSecond: Number(values.rate) }),
};

for (const text of values.listen) {
  const [, host = '', port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text) ?? [];
  const fake = await startFakeUpstream({ ...options, host, port: Number(port) });
  // Nothing here keeps them for a test to look at.
  setInterval(() => fake.messages.splice(0), 1000).unref();
}
