/** The lab's results for people: a table of trials, what the kernel refused, where to look next. */
import type { KernelReport } from '../ledger/language.ts';
import type { Outcome } from './perform.ts';
import type { Round, Trial } from './script.ts';
import type { Saw } from './send.ts';

export type Style = {
  /** colours, of a terminal only */
  readonly isTerminal: boolean;
};

const HEAD = ['', 'network', 'host', 'tried', 'saw', 'arrived at'] as const;

/** One line for each trial; under those that are not as expected, what is wrong. */
export function outcomeTable(rounds: readonly Round[], outcomes: readonly Outcome[], style: Style): string {
  const of = new Map<Trial, Outcome>(outcomes.map((outcome) => [outcome.trial, outcome]));
  const cells = outcomes.map((outcome) => row(outcome));
  const widths = HEAD.map((head, at) => Math.max(head.length, ...cells.map((each) => (each[at] as string).length)));
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, at) => text.padEnd(widths[at] as number))
      .join('  ')
      .trimEnd();
  const lines = [bold(line(HEAD), style)];
  for (const { first, trials } of rounds) {
    if (first) lines.push(dim(`-- ${first.says}`, style));
    for (const trial of trials) {
      const outcome = of.get(trial);
      if (!outcome) continue;
      const isGood = outcome.wrong.length === 0;
      lines.push(colour(line(row(outcome)), isGood ? undefined : 31, style));
      for (const wrong of outcome.wrong) lines.push(colour(`    ${wrong}`, 31, style));
    }
  }
  return `${lines.join('\n')}\n`;
}

function row({ trial, saw, arrived, wrong }: Outcome): readonly string[] {
  return [verdict(wrong), trial.network, trial.source, trial.tries, shortly(saw), arrived];
}

/** The first word of a line: is it as expected? */
export function verdict(wrong: readonly string[]): string {
  return wrong.length === 0 ? 'ok' : 'WRONG';
}

/**
 * A reply short enough for a table. Of our own refusals the class and the id are what one goes on with; their sentence
 * is in `postern explain CLASS`.
 */
export function shortly(saw: Saw): string {
  const own = /^(\d{3} \d\.\d+\.\d+) .*\[([a-z0-9.-]+) id=(\w+) /.exec(saw.reply);
  const text = own ? `${own[1]} ${own[2]} id=${own[3]}` : saw.reply || saw.failure || 'nothing';
  return text.length > 52 ? `${text.slice(0, 51)}…` : text;
}

/** `unrouted 4, blocked: block 2` from the kernel's own counters. */
export function refusedByKernel(report: KernelReport | undefined): string {
  const counted = (report?.refused ?? []).filter(({ packets }) => packets > 0);
  const texts = counted.map(
    ({ network, reason, packets }) => `${network === reason ? '' : `${network}: `}${reason} ${packets}`,
  );
  return texts.length === 0 ? 'nothing counted yet' : texts.join(', ');
}

export function bold(text: string, style: Style): string {
  return colour(text, 1, style);
}

export function dim(text: string, style: Style): string {
  return colour(text, 2, style);
}

export function colour(text: string, code: number | undefined, style: Style): string {
  return style.isTerminal && code !== undefined ? `\x1b[${code}m${text}\x1b[0m` : text;
}
