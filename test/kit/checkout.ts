/** Lets a process of another user run this checkout, also where the directories above it are shut (a clone in /root or in `mktemp -d`). */
import { join } from 'node:path';

const top = join(import.meta.dirname, '../..');
/** Every Debian has it, and here it is covered in the process's own mount namespace only. */
const seenAt = '/mnt';

/** The command line with every path of the checkout as that process sees it. Needs root; whatever it runs may then drop it. */
export function shownToAll(args: readonly string[]): string[] {
  const seen = args.map((arg) => (arg.startsWith(`${top}/`) ? seenAt + arg.slice(top.length) : arg));
  const mount = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
  return ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', mount, 'sh', top, seenAt, ...seen];
}
