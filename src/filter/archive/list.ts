/**
 * What is in an archive, three levels deep: names, kinds, whether a password is needed. Nothing is unpacked but what has to
 * be to list an archive in an archive, and all of it within one budget for a whole message.
 *
 * What cannot be listed is said to be unread, and what goes past the budget a bomb: neither is ever "nothing in it".
 */
import { extensionOf, type Kind, kindOf } from '../kind.ts';
import { type ArchiveFault, Budget } from './budget.ts';
import { listRar } from './rar.ts';
import { listTar } from './tar.ts';
import { gunzip, inflateEntry, listZip } from './zip.ts';

export type Entry = {
  readonly name: string;
  /** 1: in the archive itself; 2: in an archive in it */
  readonly level: number;
  readonly kind: Kind | undefined;
};

export type Listing = { readonly entries: Entry[]; readonly faults: Set<ArchiveFault>; hasMacros: boolean };

const ARCHIVES = new Set<Kind>(['zip', 'rar', '7z', 'gzip', 'bzip2', 'xz', 'tar', 'cabinet', 'disk-image']);
/** Archives by another name whose parts are no files for anybody to run. */
const OFFICE = /^(?:doc|dot|xls|xlt|xla|ppt|pot|pps|vsd)[xm]$|^xlsb$|^od[tspg]$/;

export function isArchive(kind: Kind): boolean {
  return ARCHIVES.has(kind);
}

export function listArchive(bytes: Buffer, kind: Kind, name: string, budget: Budget): Listing {
  const listing: Listing = { entries: [], faults: new Set(), hasMacros: false };
  look(listing, bytes, kind, name, budget, 1);
  return listing;
}

function look(listing: Listing, bytes: Buffer, kind: Kind, name: string, budget: Budget, level: number): void {
  if (level > Budget.maxLevels) {
    listing.faults.add('deep');
    return;
  }
  if (kind === 'zip') return lookInZip(listing, bytes, name, budget, level);
  if (kind === 'tar') return lookInTar(listing, bytes, budget, level);
  if (kind === 'rar') return names(listing, listRar(bytes), budget, level);
  if (kind !== 'gzip') return void listing.faults.add('unread');
  const inner = gunzip(bytes, budget);
  if (inner === undefined) return void listing.faults.add('bomb');
  // The tar in a tar.gz is no level of its own, for nobody sees it.
  single(
    listing,
    inner,
    name.replace(/\.gz$|(?<=\.t)gz$/i, (end) => (end === 'gz' ? 'ar' : '')),
    budget,
    level,
  );
}

function lookInZip(listing: Listing, bytes: Buffer, name: string, budget: Budget, level: number): void {
  const zip = listZip(bytes, budget);
  for (const fault of zip.faults) listing.faults.add(fault);
  const isOffice = OFFICE.test(extensionOf(name)) || zip.entries.some((entry) => entry.name === '[Content_Types].xml');
  for (const entry of zip.entries) {
    if (/(?:^|\/)vbaProject\.bin$/i.test(entry.name)) listing.hasMacros = true;
    if (isOffice) continue;
    const isSkipped = entry.isEncrypted || zip.faults.has('bomb');
    const inner = isSkipped ? undefined : inflateEntry(bytes, entry, budget, isNested(entry.name));
    if (inner === 'bomb') listing.faults.add('bomb');
    const kind = Buffer.isBuffer(inner) ? kindOf(inner) : undefined;
    listing.entries.push({ name: entry.name, level, kind });
    if (kind !== undefined && isArchive(kind) && Buffer.isBuffer(inner)) {
      // Only its beginning was looked at: it did not call itself an archive.
      const whole = isNested(entry.name) ? inner : inflateEntry(bytes, entry, budget, true);
      if (whole === 'bomb') listing.faults.add('bomb');
      else if (whole) look(listing, whole, kind, entry.name, budget, level + 1);
    }
  }
}

function lookInTar(listing: Listing, bytes: Buffer, budget: Budget, level: number): void {
  for (const { name, content } of listTar(bytes)) {
    if (--budget.entries < 0) return void listing.faults.add('bomb');
    single(listing, content, name, budget, level);
  }
}

/** One file that is no list itself. */
function single(listing: Listing, bytes: Buffer, name: string, budget: Budget, level: number): void {
  const kind = kindOf(bytes);
  if (kind === 'tar') return lookInTar(listing, bytes, budget, level);
  listing.entries.push({ name, level, kind });
  if (isArchive(kind)) look(listing, bytes, kind, name, budget, level + 1);
}

function names(
  listing: Listing,
  found: { readonly names: readonly string[]; readonly fault: ArchiveFault | undefined; readonly isEncrypted: boolean },
  budget: Budget,
  level: number,
): void {
  if (found.fault) listing.faults.add(found.fault);
  if (found.isEncrypted) listing.faults.add('encrypted');
  for (const name of found.names) {
    if (--budget.entries < 0) return void listing.faults.add('bomb');
    listing.entries.push({ name, level, kind: undefined });
    // Nothing is unpacked here, so what is in it stays unseen.
    if (isNested(name)) listing.faults.add('unread');
  }
}

const NESTED = /\.(?:zip|jar|7z|rar|tar|tgz|gz|bz2|tbz2?|xz|txz|cab|iso|img|arj|lzh|ace)$/i;

/** Whether a name is an archive's. */
export function isNested(name: string): boolean {
  return NESTED.test(name);
}
