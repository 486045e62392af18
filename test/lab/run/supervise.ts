/** `postern run` with another code directory: supervise.ts CODE_DIR NODE CONFIG [--remove] */
import { supervise } from '../../../src/roles/run.ts';

const [codeDir = '', nodePath = '', configPath = '', remove] = process.argv.slice(2);
process.exit(await supervise({ configPath, program: { codeDir, nodePath }, removeRulesOnExit: remove === '--remove' }));
