/**
 * Fetches what tests start of Debian's packages. Quick when it is there.
 *
 *     unpack-main.ts            before a run: ClamAV and Rspamd, so that no test waits for a mirror
 *     unpack-main.ts machines   beside a run: the mail servers and clients, which few tests need, and those not at once, and the
 *                               system for the test of the units, which comes last
 */
import { unpackMachines } from '../interop/machine.ts';
import { baseSystem } from '../nspawn/machine.ts';
import { unpackScanners } from './scanners.ts';

const machines = async (): Promise<void> => {
  await unpackMachines();
  await baseSystem();
};

await (process.argv[2] === 'machines' ? machines() : unpackScanners()).catch((error: Error) => {
  // The tests that need them say so themselves.
  process.stderr.write(`${error.message}\n`);
});
