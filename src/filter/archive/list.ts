/**
 * What is in an archive, three levels deep: names, kinds, whether a password is needed. Nothing is unpacked but what has to
 * be to list an archive in an archive, and all of it within one budget for a whole message.
 *
 * What cannot be listed is said to be unread, and what goes past the budget a bomb: neither is ever "nothing in it".
 */
import { extensionOf, type Kind, kindOf } from '../kind.ts';
import { type ArchiveFault, Budget } from './budget.ts';
import { bunzip2 } from './bzip2.ts';
import { listRar, type Names } from './rar.ts';
import { listSevenZip } from './seven-zip.ts';
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
/** Archives by another name, which no program unpacks: their parts are no files for anybody to run. */
const OFFICE = /^(?:doc|dot|xls|xlt|xla|ppt|pot|pps|vsd)[xm]$|^xlsb$|^od[tspg]$/;

function isOffice(name: string): boolean {
  return OFFICE.test(extensionOf(name));
}

export function isArchive(kind: Kind): boolean {
  return ARCHIVES.has(kind);
}

/** `names` are those by which readers may know it. */
export function listArchive(bytes: Buffer, kind: Kind, names: readonly string[], budget: Budget): Listing {
  const listing: Listing = { entries: [], faults: new Set(), hasMacros: false };
  look(listing, bytes, kind, names.find((name) => !isOffice(name)) ?? names[0] ?? '', budget, 1);
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
  if (kind === '7z') return names(listing, listSevenZip(bytes, budget), budget, level);
  const inner = kind === 'gzip' ? gunzip(bytes, budget) : kind === 'bzip2' ? bunzip(listing, bytes, budget) : undefined;
  if (inner === 'bomb') return void listing.faults.add('bomb');
  if (!inner) return void listing.faults.add('unread');
  // The tar in a tar.gz is no level of its own, for nobody sees it.
  if (kindOf(inner) === 'tar') return lookInTar(listing, inner, budget, level);
  single(listing, inner, name.replace(/\.(?:gz|bz2)$/i, ''), budget, level);
}

/** As much as there is time for; what is behind it has not been read. */
function bunzip(listing: Listing, bytes: Buffer, budget: Budget): Buffer | 'bomb' {
  const { content, isWhole, spentBytes } = bunzip2(bytes, budget.bunzipBytes);
  budget.bunzipBytes -= spentBytes;
  if (content.length > 1024 * 1024 && content.length > bytes.length * Budget.maxRatio) return 'bomb';
  if (!isWhole) listing.faults.add('unread');
  return content;
}

function lookInZip(listing: Listing, bytes: Buffer, name: string, budget: Budget, level: number): void {
  const zip = listZip(bytes, budget);
  for (const fault of zip.faults) listing.faults.add(fault);
  const isDocument = isOffice(name);
  for (const entry of zip.entries) {
    if (/(?:^|\/)vbaProject\.bin$/i.test(entry.name)) listing.hasMacros = true;
    if (isDocument) continue;
    const isSkipped = entry.isEncrypted || zip.faults.has('bomb');
    const inner = isSkipped ? undefined : inflateEntry(bytes, entry, budget, isNested(entry.name));
    if (inner === 'bomb') listing.faults.add('bomb');
    const kind = Buffer.isBuffer(inner) ? kindOf(inner) : undefined;
    if (!isSkipped) unreadIf(listing, entry.name, kind);
    for (const one of [entry.name, entry.unicodeName])
      if (one !== undefined) listing.entries.push({ name: shortened(one), level, kind });
    if (kind !== undefined && isArchive(kind) && Buffer.isBuffer(inner)) {
      // Only its beginning was looked at: it did not call itself an archive.
      const whole = isNested(entry.name) ? inner : inflateEntry(bytes, entry, budget, true);
      if (whole === 'bomb') listing.faults.add('bomb');
      else if (!whole) listing.faults.add('unread');
      else look(listing, whole, kind, entry.name, budget, level + 1);
    }
  }
}

function lookInTar(listing: Listing, bytes: Buffer, budget: Budget, level: number): void {
  for (const entry of listTar(bytes)) {
    if (entry === 'unread') return void listing.faults.add('unread');
    if (--budget.entries < 0) return void listing.faults.add('bomb');
    single(listing, entry.content, entry.name, budget, level);
  }
}

/** One file that is no list itself. */
function single(listing: Listing, bytes: Buffer, name: string, budget: Budget, level: number): void {
  const kind = kindOf(bytes);
  unreadIf(listing, name, kind);
  listing.entries.push({ name: shortened(name), level, kind });
  if (isArchive(kind)) look(listing, bytes, kind, name, budget, level + 1);
}

function names(listing: Listing, found: Names, budget: Budget, level: number): void {
  if (found.fault) listing.faults.add(found.fault);
  if (found.isEncrypted) listing.faults.add('encrypted');
  for (const name of found.names) {
    if (--budget.entries < 0) return void listing.faults.add('bomb');
    listing.entries.push({ name: shortened(name), level, kind: undefined });
    // Nothing is unpacked here, so what is in it stays unseen.
    unreadIf(listing, name, undefined);
  }
}

/** An archive by its name that is none to us, or was not looked at. */
function unreadIf(listing: Listing, name: string, kind: Kind | undefined): void {
  if ((kind === undefined || kind === 'unknown') && isNested(name)) listing.faults.add('unread');
}

/** Its end, where the extension is. */
function shortened(name: string): string {
  return name.slice(-MAX_NAME);
}

const MAX_NAME = 500;
const NESTED = /\.(?:zip|jar|7z|rar|tar|tgz|gz|bz2|tbz2?|xz|txz|cab|iso|img|arj|lzh|ace)$/i;

/** Whether a name is an archive's. */
export function isNested(name: string): boolean {
  return NESTED.test(name);
}
