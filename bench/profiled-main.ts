/** `postern run` with keeper and workers under the CPU profiler; what they were doing is in POSTERN_PROFILE_DIR when they have ended. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { supervise } from '../src/roles/run.ts';

const codeDir = join(import.meta.dirname, '..');
// Roles are run from the code's directory as it is mounted for them, so the program that stands for Node is in it.
const nodePath = join(codeDir, '.cache/bench/node-profiled');
const script = `#!/bin/sh
node=\${0%/.cache/*}/node_modules/.bin/node
case " $* " in
  *'main.ts worker '* | *'main.ts keeper '*)
    exec "$node" --cpu-prof --cpu-prof-interval=500 --cpu-prof-dir="$POSTERN_PROFILE_DIR" "$@" ;;
  *) exec "$node" "$@" ;;
esac
`;

mkdirSync(join(codeDir, '.cache/bench'), { recursive: true });
writeFileSync(nodePath, script);
chmodSync(nodePath, 0o755);
process.title = 'postern: run';
const configPath = process.argv[process.argv.indexOf('--config') + 1] ?? '';
process.exitCode = await supervise({ configPath, program: { codeDir, nodePath }, removeRulesOnExit: false });
