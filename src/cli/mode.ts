/** `postern mode`: steps on the ladder. */
import { parseArgs } from 'node:util';
import { parseDurationMs } from '../config/value/quantity.ts';
import { canonical } from '../kit/address.ts';
import { safeJson } from '../kit/log.ts';
import { MAX_REASON, type Step, type StepAnswer, type StepEvent } from '../ledger/language.ts';
import { isMode, LADDER } from '../policy/ladder.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import { type Command, type Io, UsageError } from './command.ts';
import { shown, table, time } from './show.ts';

export const command: Command = {
  name: 'mode',
  summary: 'move a subscriber or a network on the ladder of modes, for a while',
  help: `Usage: postern mode [--history] [--json] [--config FILE | --run-dir DIR]
       postern mode WHO MODE --reason TEXT [--for TIME] [--config FILE | --run-dir DIR]
       postern mode WHO back [--config FILE | --run-dir DIR]

Without WHO lists whose mode is another than the configuration's. With MODE gives somebody another mode: the kernel and the
workers follow at the next connection. What runs already runs on; nobody else is touched. The ladder:

  exempt          not intercepted
  observe         everything is judged, nothing of ours refused
  enforce         refused is what is to be refused
  smarthost-only  port 25 is refused, 587 and 465 are free
  block           port 25 is refused

  WHO             an address, which stands for its subscriber; @NAME; network:NAME. A subscriber with a mode of its own
                  keeps it when its network moves. What is in locks.management is never closed
  back            as the configuration says, at once
  --reason TEXT   why
  --for TIME      how long, for example 30m, 2h, 7d; then it goes back by itself. Without it until "back"
  --history       what became of steps, newest first
  --json          one JSON object a line
${askHelp}

Examples: postern mode 198.51.100.7 block --reason "spam run, ticket 4711" --for 2h
          postern mode network:customers enforce --reason "two weeks observed"
          postern mode 198.51.100.7 back
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...askOptions,
        reason: { type: 'string' },
        for: { type: 'string' },
        history: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const [who, mode, ...more] = positionals;
    if (who === undefined) return values.history ? showHistory(values, io) : showSteps(values, io);
    if (mode === undefined || more.length > 0)
      throw new UsageError('name one address, @NAME or network:NAME, and a mode or "back"');
    const subject = /^(?:@|network:)[A-Za-z0-9._-]+$/.test(who) ? who : canonical(who);
    if (subject === undefined)
      throw new UsageError(`"${shown(who)}" is no address such as 198.51.100.7, no @NAME and no network:NAME`);
    if (mode === 'back') {
      const answer = (await ask('mode', values, { of: 'step-back', subject, who: whoAmI() }, io)) as
        | StepAnswer
        | undefined;
      if (answer === undefined) return 1;
      io.out(`${shown(answer.step.subject)} has the mode of the configuration again`);
      return 0;
    }
    if (!isMode(mode)) throw new UsageError(`the modes are ${LADDER.join(', ')}, and "back"; not "${shown(mode)}"`);
    return take({ subject, mode }, values, io);
  },
};

type Given = Parameters<typeof ask>[1] & {
  readonly reason?: string | undefined;
  readonly for?: string | undefined;
  readonly json: boolean;
};

async function take({ subject, mode }: Pick<Step, 'subject' | 'mode'>, values: Given, io: Io): Promise<number> {
  const { reason } = values;
  if (reason === undefined || reason.trim() === '')
    throw new UsageError('--reason TEXT is needed: whoever takes it back wants to know');
  if (reason.length > MAX_REASON) throw new UsageError(`--reason has more than ${MAX_REASON} characters`);
  const lengthMs = values.for === undefined ? undefined : parseDurationMs(values.for);
  if (values.for !== undefined && (lengthMs === undefined || lengthMs === 0))
    throw new UsageError(`--for takes a time such as 30m, 2h or 7d, not "${shown(values.for)}"`);
  const until = lengthMs === undefined ? undefined : Date.now() + lengthMs;
  const step = { subject, mode, reason, who: whoAmI(), until };
  const answer = (await ask('mode', values, { of: 'step', step }, io)) as StepAnswer | undefined;
  if (answer === undefined) return 1;
  const end = until === undefined ? 'until "postern mode … back"' : `until ${time(until)}`;
  io.out(`${shown(answer.step.subject)} is in mode ${mode} ${end}`);
  if (answer.notKept !== undefined)
    io.err(
      `postern mode: it holds now, but not over a restart: ${shown(answer.notKept)}; it is written as soon as that is mended`,
    );
  return 0;
}

async function showSteps(values: Given, io: Io): Promise<number> {
  const steps = (await ask('mode', values, { of: 'steps' }, io)) as readonly Step[] | undefined;
  if (steps === undefined) return 1;
  if (values.json) for (const step of steps) io.out(safeJson(step));
  else if (steps.length === 0) io.out('everybody has the mode of the configuration');
  else io.out(stepsTable(steps));
  return 0;
}

/** With its line end. */
export function stepsTable(steps: readonly Step[]): string {
  return table(
    ['WHO', 'MODE', 'SINCE', 'UNTIL', 'BY', 'REASON'],
    steps.map(({ subject, mode, since, until, who, reason }) => [
      subject,
      mode,
      time(since),
      until === undefined ? 'taken back' : time(until),
      who,
      reason,
    ]),
  );
}

const MAX_HISTORY = 1000;

async function showHistory(values: Given, io: Io): Promise<number> {
  const events = (await ask('mode', values, { of: 'step-history', limit: MAX_HISTORY }, io)) as
    | readonly StepEvent[]
    | undefined;
  if (events === undefined) return 1;
  if (values.json) for (const event of events) io.out(safeJson(event));
  else if (events.length === 0) io.out('nobody has ever been moved');
  else
    io.out(
      table(
        ['TIME', 'WHAT', 'WHO', 'MODE', 'BY', 'REASON', 'ATTEMPTS'],
        events.map(({ at, what, who, step }) => [
          time(at),
          what,
          step.subject,
          step.mode,
          who,
          step.reason,
          (step.evidence ?? []).join(' '),
        ]),
      ),
    );
  return 0;
}
