import { parseArgs } from 'node:util';
import { keeper } from '../roles/keeper.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';

export const command: Command = {
  name: 'keeper',
  summary: 'role: counters, locks, journal, metrics',
  help: `Usage: postern keeper [--config FILE]

The role that counts connections over all workers, keeps locks and the journal, and serves /metrics. "postern run" or
systemd starts it; it needs no privilege. SIGHUP reloads the configuration, SIGTERM writes what waits and ends.

  --config FILE   the configuration (default ${DEFAULT_CONFIG})

Example: postern keeper --config /etc/postern/postern.toml
`,
  run(args) {
    const { values } = parseArgs({ args: [...args], options: { config: { type: 'string', default: DEFAULT_CONFIG } } });
    return keeper(values.config);
  },
};
