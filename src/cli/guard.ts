/** `postern guard`: the role that keeps the kernel rules. */
import { parseArgs } from 'node:util';
import { applyRules, guard } from '../roles/guard.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';

export const command: Command = {
  name: 'guard',
  summary: "role: keep the kernel rules, feed the dead-man's switch",
  help: `Puts the kernel rules of a configuration into force and keeps them there; asks the workers twice a second whether
they are alive. Needs CAP_NET_ADMIN and CAP_NET_RAW. Started by systemd (postern-guard.service) or by "postern run".

Usage: postern guard [--config FILE] [--rules-only]

  --config FILE   the configuration (default ${DEFAULT_CONFIG})
  --rules-only    put the rules into force and end, as the boot unit does before the network comes up: until a worker
                  answers, hosts get what "fail" of their network says

SIGHUP takes over a changed configuration. SIGTERM ends it; the rules stand ("postern rules --remove" takes them away).

Example: postern guard --rules-only --config /etc/postern/postern.toml
`,
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        'rules-only': { type: 'boolean', default: false },
      },
    });
    return values['rules-only'] ? applyRules(values.config) : guard(values.config);
  },
};
