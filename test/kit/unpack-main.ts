/** Before a run: fetches what tests start of ClamAV and Rspamd, so that no test waits for a mirror. Quick when it is there. */
import { unpackScanners } from './scanners.ts';

await unpackScanners().catch((error: Error) => {
  // The tests that need them say so themselves.
  process.stderr.write(`${error.message}\n`);
});
