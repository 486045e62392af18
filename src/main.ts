#!/usr/bin/env node
/** `postern COMMAND`: gives the process's arguments and outputs to the command, and its status to the caller. */
import { readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Io } from './cli/command.ts';
import { commands } from './cli/commands.ts';
import { dispatch } from './cli/dispatch.ts';
import { logFlushed } from './kit/log.ts';

const LOG_FLUSH_MS = 500;

const io: Io = {
  out: (text) => void process.stdout.write(endLine(text)),
  err: (text) => void process.stderr.write(endLine(text)),
  isTerminal: isatty(1) && process.env['NO_COLOR'] === undefined,
};

function endLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// A reader that goes away early (`postern log | head`) is no error of ours.
process.stdout.on('error', () => {});
const status = await dispatch(process.argv.slice(2), io, {
  commands,
  version: `${version} (Node ${process.versions.node})`,
  debug: process.env['POSTERN_DEBUG'] === '1',
});
// A role's last lines; whoever does not read them must not keep it from ending.
await logFlushed(LOG_FLUSH_MS);
// An exit does not wait for what a slow reader has not taken yet: "postern rules | less" would show the beginning alone.
const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => void stream.write('', () => resolve()));
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
process.exit(status);
