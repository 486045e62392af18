import { parseArgs } from 'node:util';
import { worker } from '../roles/worker.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';

export const command: Command = {
  name: 'worker',
  summary: 'role: take connections and relay mail',
  help: `Takes intercepted connections from the listeners handed down to it and relays mail. Started by systemd
(postern-worker@N.service) or by "postern run", which hand down three listeners: IPv4, IPv6, probe.

Usage: postern worker --config FILE --index N

  --config FILE   the configuration (default ${DEFAULT_CONFIG})
  --index N       this worker's number, from 1

Example: systemctl start postern-worker@1`,
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: 'string', default: DEFAULT_CONFIG }, index: { type: 'string' } },
    });
    const index = Number(values.index);
    if (!Number.isInteger(index) || index < 1) throw new UsageError('--index N is needed, a whole number from 1');
    return await worker(values.config, index);
  },
};
