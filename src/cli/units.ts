/** `postern units`: what the configuration means to systemd. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { keepsSource } from '../config/egress.ts';
import { loadConfig } from '../config/load.ts';
import { inEffect } from '../config/trial.ts';
import type { Config } from '../config/schema.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';

/** as the units have it (systemd/) */
const UNITS = { runDir: '/run/postern', stateDir: '/var/lib/postern', port: 2525, drainMs: 30_000 } as const;
const UNIT_DIR = '/usr/lib/systemd/system';
/** what a worker gets beyond gateway.drain before systemd kills it */
const DRAIN_GRACE_MS = 5_000;

export type UnitFile =
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly link: string };

/** Files below a directory of units: the workers that belong to postern.target, and what differs from the units' own. */
export function unitFiles(config: Config): UnitFile[] {
  const { complaints, gateway, intercept } = config;
  const files: UnitFile[] = [];
  for (let worker = 1; worker <= gateway.workers; worker++)
    for (const kind of ['socket', 'service'])
      files.push({
        path: `postern.target.wants/postern-worker@${worker}.${kind}`,
        link: `${UNIT_DIR}/postern-worker@.${kind}`,
      });
  if (intercept.port !== UNITS.port) {
    const listeners = [`0.0.0.0:${intercept.port}`, `[::]:${intercept.port}`, `${UNITS.runDir}/worker-%i.probe`];
    // The first, empty one takes the unit's own away.
    const lines = ['', ...listeners].map((listener) => `ListenStream=${listener}\n`).join('');
    files.push({ path: 'postern-worker@.socket.d/50-port.conf', text: `[Socket]\n${lines}` });
  }
  if (gateway.drain !== UNITS.drainMs) {
    const text = `[Service]\nTimeoutStopSec=${gateway.drain + DRAIN_GRACE_MS}ms\n`;
    files.push({ path: 'postern-worker@.service.d/50-drain.conf', text });
  }
  const { maildir } = complaints;
  if (maildir !== undefined) {
    // Where there is none yet the keeper starts all the same; systemd has it in quotes, and `%` is its own.
    const text = `[Service]\nReadWritePaths="-${maildir.replaceAll('%', '%%')}"\n`;
    files.push({ path: 'postern-keeper.service.d/50-maildir.conf', text });
  }
  if (keepsSource(config)) files.push({ path: 'postern-worker@.service.d/50-preserve.conf', text: KEEPS_SOURCE });
  return files;
}

/** A capability in a user namespace of its own would be none in the network. */
const KEEPS_SOURCE = `[Service]
CapabilityBoundingSet=CAP_NET_RAW
AmbientCapabilities=CAP_NET_RAW
PrivateUsers=no
`;

/** What the units cannot follow: their sandboxes name the directories. */
export function unitErrors({ gateway }: Config): string[] {
  return [
    ['gateway.run_dir', gateway.runDir, UNITS.runDir],
    ['gateway.state_dir', gateway.stateDir, UNITS.stateDir],
  ]
    .filter(([, is, units]) => is !== units)
    .map(
      ([key, is, units]) => `${key} = "${is}": expected "${units}", as the units have it; under systemd it is fixed`,
    );
}

export const command: Command = {
  name: 'units',
  summary: 'print what the configuration means to systemd: how many workers, on which port',
  help: `Usage: postern units [--config FILE] [--into DIRECTORY | --subscribers]

Prints the files that make as many workers part of postern.target as gateway.workers says, and that tell the units of an
intercept.port, a gateway.drain or an egress other than the default, and of a complaints.maildir. systemd asks for them
itself at boot and at "systemctl daemon-reload" (postern-generator); so after a change of one of these keys:

  systemctl daemon-reload && systemctl restart postern.target

  --config FILE      the configuration (default ${DEFAULT_CONFIG})
  --subscribers      print subscribers.directory instead, if it is set: what is kept together with a valid configuration
  --into DIRECTORY   write them there instead

Example: postern units --config ./postern.toml
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        into: { type: 'string' },
        subscribers: { type: 'boolean' },
      },
    });
    // The text alone: at boot there is no network yet, no name resolves, and nothing may be written yet.
    const loaded = await loadConfig(inEffect(values.config), {});
    const errors = loaded.ok ? unitErrors(loaded.config) : loaded.errors.map(({ message }) => message);
    if (!loaded.ok || errors.length > 0) {
      for (const error of errors) io.err(error);
      return 1;
    }
    if (values.subscribers) {
      io.out(loaded.config.subscribers.directory ?? '');
      return 0;
    }
    for (const file of unitFiles(loaded.config)) {
      if (values.into === undefined)
        io.out('link' in file ? `${file.path} -> ${file.link}` : `${file.path}:\n${file.text}`);
      else write(join(values.into, file.path), file);
    }
    return 0;
  },
};

function write(path: string, file: UnitFile): void {
  mkdirSync(dirname(path), { recursive: true });
  if ('link' in file) symlinkSync(file.link, path);
  else writeFileSync(path, file.text);
}
