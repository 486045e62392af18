/** What a file really is, by its first octets. */

export const KINDS = [
  'executable',
  'shortcut',
  'script',
  'zip',
  'rar',
  '7z',
  'gzip',
  'bzip2',
  'xz',
  'tar',
  'cabinet',
  'disk-image',
  'help',
  'note',
  'office',
  'pdf',
  'image',
  'rtf',
  'unknown',
] as const;
export type Kind = (typeof KINDS)[number];

const MAGIC: readonly (readonly [kind: Kind, offset: number, octets: string])[] = [
  ['executable', 0, 'MZ'],
  ['executable', 0, '\x7fELF'],
  ['executable', 0, '\xca\xfe\xba\xbe'],
  ['executable', 0, '\xfe\xed\xfa\xce'],
  ['executable', 0, '\xfe\xed\xfa\xcf'],
  ['executable', 0, '\xce\xfa\xed\xfe'],
  ['executable', 0, '\xcf\xfa\xed\xfe'],
  ['shortcut', 0, 'L\0\0\0\x01\x14\x02\0'],
  ['script', 0, '#!'],
  ['zip', 0, 'PK\x03\x04'],
  ['zip', 0, 'PK\x05\x06'],
  ['zip', 0, 'PK\x07\x08'],
  ['rar', 0, 'Rar!\x1a\x07'],
  ['7z', 0, "7z\xbc\xaf'\x1c"],
  ['gzip', 0, '\x1f\x8b'],
  ['bzip2', 0, 'BZh'],
  ['xz', 0, '\xfd7zXZ\0'],
  ['tar', 257, 'ustar'],
  ['cabinet', 0, 'MSCF'],
  ['disk-image', 0x8001, 'CD001'],
  ['disk-image', 0, 'vhdxfile'],
  ['disk-image', 0, 'conectix'],
  ['help', 0, 'ITSF'],
  ['note', 0, '\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3'],
  ['office', 0, '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1'],
  ['pdf', 0, '%PDF-'],
  ['image', 0, '\x89PNG'],
  ['image', 0, '\xff\xd8\xff'],
  ['image', 0, 'GIF8'],
  ['rtf', 0, '{\\rt'],
];

/** How much of a file is needed to tell. */
export const KIND_BYTES = 0x8001 + 5;

export function kindOf(bytes: Buffer): Kind {
  for (const [kind, offset, octets] of MAGIC) {
    if (bytes[offset] !== octets.charCodeAt(0) || bytes.length < offset + octets.length) continue;
    if (bytes.toString('latin1', offset, offset + octets.length) === octets) return kind;
  }
  return 'unknown';
}

/** What a name that ends so promises; a file of kind "executable" behind it is in disguise. */
const HARMLESS = new Set(
  'txt csv log ics vcf pdf png jpg jpeg gif bmp webp tif tiff svg heic mp3 mp4 wav avi mov doc docx xls xlsx ppt pptx odt ods odp rtf htm html xml json eml'.split(
    ' ',
  ),
);

/** The last extension, lower case, without what Windows drops from the end of a name. */
export function extensionOf(name: string): string {
  let end = name.length;
  while (end > 0 && /[\s.\0]/.test(name[end - 1] as string)) end--;
  const dot = name.lastIndexOf('.', end - 1);
  return dot < 0 || end === 0 ? '' : name.slice(dot + 1, end).toLowerCase();
}

/** A program under a name of something else. */
export function isDisguised(kind: Kind, name: string): boolean {
  return (kind === 'executable' || kind === 'shortcut') && HARMLESS.has(extensionOf(name));
}
