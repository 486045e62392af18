/** `postern rules`: what a configuration means to the kernel, and whether the kernel agrees. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { withoutEnded } from '../guard/exempt.ts';
import { changes } from '../guard/changes.ts';
import { plan } from '../guard/plan.ts';
import { readKernel } from '../guard/read.ts';
import { removeAll } from '../guard/remove.ts';
import { renderAll } from '../guard/render.ts';
import { Spelling } from '../guard/spelling.ts';
import { userOf } from '../kit/users.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';

/**
 * The id of a process titled as a guard that is in the network namespace we are in, whichever run_dir it has; --remove
 * reads no configuration. A title can be had by anything: a hint for people, nothing to decide by.
 */
export function runningGuard(): number | undefined {
  const networkOf = (pid: number | 'self'): string => readlinkSync(`/proc/${pid}/ns/net`);
  const isGuard = (pid: number): boolean => {
    try {
      // A process that was titled has its title here; the kernel fills up with NULs.
      const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0.*/s, '').trim();
      return title === 'postern: guard' && networkOf(pid) === networkOf('self');
    } catch {
      return false; // it has just ended, or is not ours to look at
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find(isGuard);
}

export const command: Command = {
  name: 'rules',
  summary: 'print the kernel rules that a configuration leads to',
  help: `Usage: postern rules [--config FILE] [--verify | --remove]

Prints what the kernel is given, to the letter: sysctls, routing rules, sets, tables. Changes nothing.

  --config FILE   the configuration (default ${DEFAULT_CONFIG})
  --verify        compare with the kernel instead; prints what differs, status 1 if anything does (needs root)
  --remove        take everything of ours out of the kernel, and nothing else; needs root, and no configuration. Hosts
                  then reach port 25 freely. Stop the gateway first: its guard would put the rules back

Examples: postern rules --config ./postern.toml
          postern rules --verify
          systemctl stop postern.target && postern rules --remove
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        verify: { type: 'boolean', default: false },
        remove: { type: 'boolean', default: false },
      },
    });
    if (values.verify && values.remove) throw new UsageError('--verify or --remove, not both');
    if (values.remove) {
      const removed = await removeAll();
      io.out(
        removed.length === 0
          ? 'Nothing of ours is in the kernel.'
          : removed.map((what) => `removed ${what}\n`).join(''),
      );
      const guard = runningGuard();
      if (guard !== undefined)
        io.err(
          `postern rules: a guard runs here (process ${guard}) and puts the rules back within 5 s. Stop the gateway first:\n` +
            'systemctl stop postern.target (from a checkout: Ctrl-C to "postern run"), then postern rules --remove',
        );
      return 0;
    }
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    const desired = plan(withoutEnded(loaded.config, Date.now()), { workerUid: userOf('worker').uid });
    if (!values.verify) {
      io.out(renderAll(desired));
      return 0;
    }
    const differences = changes(desired, await readKernel(), new Spelling()).flatMap(({ because }) => because);
    io.out(
      differences.length === 0 ? 'The kernel is as planned.' : differences.map((what) => `differs: ${what}\n`).join(''),
    );
    return differences.length === 0 ? 0 : 1;
  },
};
