/** Files that must be whole whenever the power goes. */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** The file is the old one or the new one. `mode` is that of the new one, whatever the umask. */
export function writeAtomically(path: string, text: string, mode = 0o600): void {
  const temporary = `${path}.new`;
  // Whoever may write in the directory may have put a link there, which root is not to follow.
  rmSync(temporary, { force: true });
  const file = openSync(temporary, 'wx', 0o600);
  try {
    writeFileSync(file, text);
    fchmodSync(file, mode);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
