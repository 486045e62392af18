import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { supervise } from '../roles/run.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';

export const command: Command = {
  name: 'run',
  summary: 'start the gateway from a checkout: guard, keeper and workers',
  help: `Usage: postern run [--config FILE] [--remove-rules-on-exit]

Starts the whole gateway and keeps it running: puts the rules into the kernel, opens the listeners, starts guard, keeper
and workers, each as its own user. Needs root. Where Postern is installed, systemd does this: systemctl start postern.target

  --config FILE           the configuration (default ${DEFAULT_CONFIG})
  --remove-rules-on-exit  take the rules away at the end: port 25 is then free. Without it they stand, and
                          "postern rules --remove" takes them away

Signals: SIGHUP reloads the configuration; SIGTERM and SIGINT let running sessions end (gateway.drain) and stop;
a second SIGINT ends at once.

Example: postern run --config /etc/postern/postern.toml
`,
  async run(args, _io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        'remove-rules-on-exit': { type: 'boolean', default: false },
      },
    });
    process.title = 'postern: run';
    return supervise({
      configPath: values.config,
      program: { codeDir: join(import.meta.dirname, '../..'), nodePath: process.execPath },
      removeRulesOnExit: values['remove-rules-on-exit'],
    });
  },
};
