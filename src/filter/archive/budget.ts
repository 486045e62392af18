/** How much may be spent on the archives of one message, and what is said when that is not enough. */

/**
 * `bomb`: more entries, octets or a higher ratio than the budget has. `deep`: archives beyond three levels. `unread`: of
 * a kind, or with a fault, that keeps it from being listed.
 */
export type ArchiveFault = 'bomb' | 'deep' | 'unread' | 'encrypted';

/** What one message may cost. */
export class Budget {
  entries = 10_000;
  inflateBytes = 100 * 1024 * 1024;
  /** of bzip2, which takes ten times as long */
  bunzipBytes = 8 * 1024 * 1024;
  /** entries of which the beginning is unpacked to see what they are */
  peeks = 2000;
  static readonly maxRatio = 100;
  static readonly maxLevels = 3;
}
