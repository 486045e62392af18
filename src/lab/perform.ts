/** Carries the script out and judges each trial by what the sender saw and by what arrived. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { classes } from '../policy/classes.ts';
import type { Reached } from './direct.ts';
import type { LabNetwork } from './network.ts';
import type { Reporter } from './reporter.ts';
import { PLACED, type Round, subjectOf, type Trial } from './script.ts';
import { type Saw, withLibrary, withSwaks } from './send.ts';
import type { Arrived, Smarthost } from './smarthost.ts';

export type Stage = {
  readonly network: LabNetwork;
  readonly smarthost: Smarthost;
  readonly direct: Reporter<Reached>;
  readonly insideServer: Reporter<Reached>;
  /** what an operator does, through the commands; rejects when a command fails */
  readonly lock: (subject: string) => Promise<void>;
  readonly unlock: (subject: string) => Promise<void>;
};

export type Outcome = {
  readonly trial: Trial;
  readonly saw: Saw;
  readonly arrived: string;
  /** what is not as expected; empty when all is */
  readonly wrong: readonly string[];
};

/** How long a message that was accepted may take until it is reported. */
const ARRIVAL_MS = 30_000;
const AT_ONCE = 3;
/** How long a patient sender tries again, and how often. The gateway looks for a smarthost that was down every 1 to 30 s. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 200;

export async function perform(
  stage: Stage,
  run: string,
  rounds: readonly Round[],
  onProgress: (done: number, of: number, now: string) => void,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const of = rounds.reduce((sum, round) => sum + round.trials.length, 0);
  for (const { first, trials } of rounds) {
    signal.throwIfAborted();
    if (first) {
      onProgress(outcomes.length, of, first.says);
      await prepare(stage, first);
    }
    const waiting = [...trials];
    const done = new Map<Trial, Outcome>();
    const work = async (): Promise<void> => {
      for (let trial = waiting.shift(); trial; trial = waiting.shift()) {
        signal.throwIfAborted();
        onProgress(outcomes.length + done.size, of, trial.tries);
        done.set(trial, await tryOut(stage, run, trial));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    for (const trial of trials) outcomes.push(done.get(trial) as Outcome);
  }
  return outcomes;
}

async function prepare(stage: Stage, first: NonNullable<Round['first']>): Promise<void> {
  switch (first.kind) {
    case 'lock':
      return stage.lock(first.subject);
    case 'unlock':
      return stage.unlock(first.subject);
    case 'smarthost-down':
      return stage.smarthost.stop();
    case 'smarthost-up':
      return stage.smarthost.start();
  }
}

async function tryOut(stage: Stage, run: string, trial: Trial): Promise<Outcome> {
  const subject = subjectOf(run, trial.id);
  const send = trial.client === 'swaks' ? withSwaks : withLibrary;
  const mail = { ...trial, helo: heloOf(trial) };
  let saw = await send(stage.network[trial.where], mail);
  const patience = performance.now() + PATIENCE_MS;
  while (trial.isPatient && saw.reply.startsWith('4') && performance.now() < patience) {
    await sleep(RETRY_MS);
    saw = await send(stage.network[trial.where], mail);
  }
  const called = trial.where === 'inside' ? stage.direct : stage.insideServer;
  const isHere = (line: { subject?: string | undefined }): boolean => line.subject === subject;
  // What was accepted must arrive somewhere, and is waited for; what arrived though it was refused is seen in any case.
  if (saw.reply.startsWith('250 ')) {
    await Promise.race([stage.smarthost.waitFor(isHere, ARRIVAL_MS), called.waitFor(isHere, ARRIVAL_MS)]);
  }
  const atSmarthost = stage.smarthost.lines.filter(isHere);
  const atCalled = called.lines.filter(isHere);
  const arrived = [
    ...atSmarthost.map((line) => `smarthost, to ${line.to.length}`),
    ...atCalled.map(() => 'the server it called'),
  ].join(' and ');
  return { trial, saw, arrived: arrived || 'nothing', wrong: judge(trial, saw, atSmarthost, atCalled) };
}

/** What differs from what was expected, each in a sentence. */
export function judge(trial: Trial, saw: Saw, atSmarthost: readonly Arrived[], atCalled: readonly Reached[]): string[] {
  const { expected } = trial;
  const wrong: string[] = [];
  const check = (holds: boolean, otherwise: string): void => {
    if (!holds) wrong.push(otherwise);
  };
  const seen = saw.reply || saw.failure || 'nothing';

  check(atSmarthost.length === (expected.kind === 'delivered' ? 1 : 0), `${atSmarthost.length} came to the smarthost`);
  const goesOn = expected.kind === 'direct' || expected.kind === 'preserved';
  check(atCalled.length === (goesOn ? 1 : 0), `${atCalled.length} came to the server it called`);
  switch (expected.kind) {
    case 'delivered':
      check(saw.reply.startsWith('250 '), `the sender saw ${seen}, not 250`);
      for (const line of atSmarthost) wrong.push(...unfaithful(trial, line));
      break;
    case 'refused': {
      const { code } = classes[expected.class];
      check(saw.reply.startsWith(`${code} `), `the sender saw ${seen}, not ${code}`);
      check(saw.reply.includes(`[${expected.class} `), `the reply does not name the class ${expected.class}`);
      break;
    }
    case 'mirrored':
      check(expected.reply.test(saw.reply), `the sender saw ${seen}, not the smarthost's own reply`);
      break;
    case 'kernel':
      check(saw.failure === 'Connection refused', `the sender saw ${seen}, not a refused connection`);
      break;
    case 'preserved':
      check(/^250 .* directly$/.test(saw.reply), `the sender saw ${seen}, not the reply of the server it called`);
      for (const { from, top = '' } of atCalled) {
        check(from === trial.source, `the server saw ${from}, not the host's own address`);
        check(top.startsWith('Received: from '), `the top line is not our Received: ${top.slice(0, 100)}`);
      }
      break;
    case 'direct':
      check(/^250 .* directly$/.test(saw.reply), `the sender saw ${seen}, not the reply of the server it called`);
      break;
  }
  return wrong;
}

function unfaithful(trial: Trial, line: Arrived): string[] {
  const wrong: string[] = [];
  const sent = createHash('sha256').update(trial.message).digest('hex');
  if (line.sentSha256 !== sent) wrong.push('the message was changed on the way, beyond one Received line');
  if (!line.receivedByUs) wrong.push(`the top line is not our Received: ${line.top.slice(0, 100)}`);
  if (!line.tls) wrong.push('it came to the smarthost without TLS');
  if (line.from !== trial.from) wrong.push(`the sender became <${line.from}>`);
  if (line.to.join() !== trial.to.join()) wrong.push(`the recipients became ${line.to.join(', ')}`);
  return wrong;
}

/** Connections to port 25 of the server on the internet by anybody but hosts that are exempt or keep their address: must be none. */
export function leaks(direct: readonly Reached[]): string[] {
  // A worker has the address of the host for whom it calls.
  const mayPass: readonly string[] = [PLACED.exempted, PLACED.keeper].flatMap(({ v4, v6 }) => [v4, v6]);
  return direct
    .filter((line) => line.port === 25 && !mayPass.includes(line.from))
    .map((line) => `${line.from} reached ${line.to}:25`);
}

function heloOf(trial: Trial): string {
  const host = trial.source.split(/[.:]/).at(-1);
  return trial.where === 'inside' ? `host${host}.customer.example` : 'mx.example.org';
}
