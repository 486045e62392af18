/**
 * Loaded before each test file: when its tests are done, whatever they have left open ends a little later with the
 * process. Not at once (`--test-force-exit`): results that still wait in the pipe to the runner would be lost, and a file
 * would pass with tests that nobody has heard of.
 */
import { after } from 'node:test';

const GRACE_MS = 2000;

after(() => {
  setTimeout(() => process.exit(), GRACE_MS).unref();
});
