/** What a figure is worth nothing without: machine, kernel, versions, commit, date. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import type { Standing } from './sample.ts';

export function machine(): string {
  const [cpu] = cpus();
  const os = /^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  return `${cpus().length} × ${cpu?.model ?? 'unknown'}, ${(totalmem() / 1e9).toFixed(0)} GB, ${os}, Linux ${release()}`;
}

/** Load average now: above the number of processors before a run, somebody else was using the machine. */
export function busyness(): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(' ');
}

export function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8', timeout: 10_000 }).trim();
  try {
    const changed = git('status', '--porcelain', '--', '../src') === '' ? '' : ', with changes in src/';
    return `${git('rev-parse', '--short', 'HEAD')}${changed}`;
  } catch {
    return 'unknown';
  }
}

export function about(standings: readonly Standing[], how: string): string {
  const versions = standings
    .filter(({ peer }) => peer.version)
    .map(({ kind, peer }) => `${kind.name} ${kind.name === 'postern' ? `on Node ${peer.version}` : peer.version}`);
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${commit()}. ${machine()}. Load average before: ${busyness()}.`,
    `${[how, ...versions].join(', ')}.`,
  ].join('\n');
}
