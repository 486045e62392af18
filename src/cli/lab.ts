/** `postern lab`: real mail through the real gateway, in a network that this kernel plays. */
import { randomBytes } from 'node:crypto';
import { basename, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Checked, checkAll } from '../lab/checks.ts';
import { type Doorway, openDoorway } from '../lab/doorway.ts';
import { METRICS, PANEL } from '../lab/gateway.ts';
import { keepProblem, type Lab, startLab } from '../lab/lab.ts';
import { type Outcome, perform } from '../lab/perform.ts';
import { prompt, promptHelp } from '../lab/prompt.ts';
import { theScript } from '../lab/script.ts';
import { bold, colour, dim, outcomeTable, refusedByKernel, verdict } from '../lab/table.ts';
import { type Command, type Io, UsageError } from './command.ts';

export const command: Command = {
  name: 'lab',
  summary: 'send real mail through the gateway in a network of namespaces',
  help: `Usage: postern lab [--once] [--keep DIR]

Makes a network of three namespaces on this machine: hosts inside, a gateway, the internet. Starts this Postern in the
gateway, sends mails from hosts of every kind with unmodified clients, and shows what each host saw and what arrived.
Then it stays up with a prompt that names things to try. Needs root, touches nothing outside its namespaces, and leaves
nothing behind.

  --once       end after the set: status 0 if all was as expected, 1 if not
  --keep DIR   leave configuration, gateway's log and journal in DIR, which must be new or empty

Examples: postern lab
          postern lab --once
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { once: { type: 'boolean', default: false }, keep: { type: 'string' } },
      allowPositionals: true,
    });
    if (positionals.length > 0) throw new UsageError(`"${positionals[0]}" is not understood`);
    const keep = values.keep === undefined ? undefined : resolve(values.keep);
    const problem = keep === undefined ? undefined : keepProblem(keep);
    if (problem !== undefined) throw new UsageError(`--keep ${problem}`);
    if (process.getuid?.() !== 0) {
      io.err(
        'postern lab: needs root, because it makes network namespaces and kernel rules in them. Try: sudo npm run lab',
      );
      return 1;
    }
    return run(io, { once: values.once, keep });
  },
};

/** Where a browser of this machine finds the lab's panel, when nobody else listens there. */
const PANEL_PORT = 8025;

type Options = { readonly once: boolean; readonly keep: string | undefined };

async function run(io: Io, { once, keep }: Options): Promise<number> {
  const interrupted = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => interrupted.abort(new Error(name));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  const { signal } = interrupted;
  const progress = progressLine(io);
  let lab: Lab | undefined;
  let doorway: Doorway | undefined;
  try {
    lab = await startLab({ keep, signal, onProgress: (what) => progress.show(`starting ${what}`) });
    progress.clear();
    const here = lab;
    io.out(`${bold('The configuration', io)} ${here.gateway.configPath}\n\n${indent(here.config)}`);
    const again = (): Promise<boolean> => theSet(here, io, progress, signal);
    const asExpected = await again();
    if (once) {
      io.out(whereToLook(here, io));
      return asExpected ? 0 : 1;
    }
    doorway = await openDoorway(here.network.gateway, PANEL, PANEL_PORT);
    const panel = `http://127.0.0.1:${doorway.port}/  name lab, password ${await here.gateway.addUser()}`;
    io.out(whereToLook(here, io, panel));
    io.out(`\n${bold('Things to try', io)}\n${promptHelp()}`);
    const interrupt = (): void => interrupted.abort(new Error('SIGINT'));
    await prompt(here, { out: io.out, again, interrupt, signal });
    return signal.aborted ? 130 : 0;
  } catch (error) {
    progress.clear();
    if (!signal.aborted) throw error;
    io.err(`postern lab: ended by ${(signal.reason as Error).message}; cleaning up`);
    return 130;
  } finally {
    progress.clear();
    await doorway?.close();
    await lab?.close();
    if (keep !== undefined && lab) io.out(`Configuration, gateway.log and journal are in ${keep}`);
  }
}

/** True when everything was as expected. */
async function theSet(lab: Lab, io: Io, progress: Progress, signal: AbortSignal): Promise<boolean> {
  const started = performance.now();
  const run = randomBytes(3).toString('hex');
  const rounds = theScript(run);
  const onProgress = (done: number, of: number, now: string): void => progress.show(`${done} of ${of}: ${now}`);
  const outcomes = await perform(lab, run, rounds, onProgress, signal);
  progress.show('what the kernel, the log and the metrics say');
  const checked = await checkAll(lab, outcomes, signal);
  const status = await lab.gateway.status();
  progress.clear();

  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  io.out(`\n${outcomeTable(rounds, outcomes, io)}\n${checkedList(checked, io)}`);
  io.out(`\nRefused by the kernel (packets): ${refusedByKernel(status?.kernel)}`);
  return sum(outcomes, checked, seconds, io);
}

function sum(outcomes: readonly Outcome[], checked: readonly Checked[], seconds: string, io: Io): boolean {
  const wrong = [...outcomes, ...checked].filter((each) => each.wrong.length > 0).length;
  const text = wrong === 0 ? 'all as expected' : `${wrong} NOT AS EXPECTED`;
  io.out(`${colour(`${outcomes.length} trials in ${seconds} s: ${text}`, wrong === 0 ? 32 : 31, io)}\n`);
  return wrong === 0;
}

function checkedList(checked: readonly Checked[], io: Io): string {
  return checked
    .map(({ says, wrong }) => {
      const lines = [`${verdict(wrong).padEnd(5)}  ${says}`, ...wrong.map((each) => `    ${each}`)];
      return colour(lines.join('\n'), wrong.length === 0 ? undefined : 31, io);
    })
    .join('\n');
}

/** `panel`: where it is and who may log in; undefined when the lab ends now. */
function whereToLook(lab: Lab, io: Io, panel?: string): string {
  const postern = commandName();
  const { configPath, logPath } = lab.gateway;
  const gateway = lab.network.gateway.name;
  return [
    bold(
      panel === undefined ? 'Where to look, while it is up (without --once)' : 'Where to look, from another terminal',
      io,
    ),
    ...(panel === undefined ? [] : [`  panel     ${panel}`]),
    `  log       ${postern} log --config ${configPath}`,
    `  status    ${postern} status --config ${configPath}`,
    `  rules     ${postern} rules --config ${configPath}`,
    `            ip netns exec ${gateway} iptables-save`,
    `  metrics   ip netns exec ${gateway} curl -s http://${METRICS}/metrics`,
    `  output    tail -f ${logPath}`,
    dim(
      `  namespaces: ${[lab.network.inside, lab.network.gateway, lab.network.internet].map(({ name }) => name).join(' ')}`,
      io,
    ),
    '',
  ].join('\n');
}

/** How this was started, so that what is printed can be typed. */
function commandName(): string {
  if (process.env['npm_lifecycle_event'] !== undefined) return 'npm run -s postern --';
  const script = process.argv[1] ?? 'postern';
  return basename(script) === 'main.ts'
    ? `${relative('', process.execPath)} ${relative('', script)}`
    : basename(script);
}

type Progress = { readonly show: (text: string) => void; readonly clear: () => void };

/** One line that is written over, on a terminal; nothing elsewhere. */
function progressLine(io: Io): Progress {
  if (!io.isTerminal) return { show: () => {}, clear: () => {} };
  return {
    show: (text) => void process.stderr.write(`\r\x1b[K${text.slice(0, 100)}`),
    clear: () => void process.stderr.write('\r\x1b[K'),
  };
}

function indent(text: string): string {
  return text.trimEnd().replace(/^(?=.)/gm, '  ');
}
