/** `[filters.attachments]` */
import { listOf, table } from '../../field.ts';
import { boolean, choice, text } from '../../value/plain.ts';
import { ACTIONS } from '../words.ts';

export const attachments = table(
  'Files in a message, by their names (as they stand, and decoded after RFC 2231 and 2047), by what they really are, and by what is listed in zip, rar, 7z, tar, gz and bz2 files to three levels. Nothing is unpacked but archives in zip, tar, gz and bz2 files, and the beginnings of 2,000 files, in at most 100 MiB (of bz2 8 MiB) and 10,000 entries a message.',
  {
    enabled: boolean({ doc: 'Whether it looks at all.', default: false }),
    extensions: listOf(text, {
      doc: 'Names that end so are of files that run, also in archives.',
      default:
        'bat cmd com cpl dll exe hta jar js jse lnk msc msi msp mst paf pif ps1 psc1 reg scr vb vbe vbs wsf wsh'.split(
          ' ',
        ),
    }),
    executable: choice(ACTIONS, {
      doc: 'A name with such an extension, or a program by its first octets.',
      default: 'reject',
    }),
    disguised: choice(ACTIONS, { doc: 'A program under the name of a picture or a text.', default: 'reject' }),
    macro: choice(ACTIONS, { doc: 'An Office file with macros.', default: 'tag' }),
    encrypted: choice(ACTIONS, { doc: 'An archive that needs a password.', default: 'tag' }),
    limits: choice(ACTIONS, {
      doc: 'An archive past those limits, deeper than three levels, or that unpacks to more than a hundred times its size.',
      default: 'reject',
    }),
    unread: choice(ACTIONS, {
      doc: 'An archive that is not looked into: xz, cab, disk images, damaged ones, archives in rar and 7z files, and what is only called an archive.',
      default: 'ignore',
    }),
    failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
  },
);
