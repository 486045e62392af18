/** What the attachments filter sees in files, and what it does not take for one. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { BUNZIPS, named, rarOf, SEVEN_ZIPS, tarOf, withFile, zipOf } from '../../kit/archives.ts';
import { filtersOf, lookAt, mailOf, messageOf } from '../../kit/mail.ts';

const filters = await filtersOf('attachments.enabled = true');
const EXE = Buffer.from('MZ\x90\0 this is a program', 'latin1');
const classesOf = async (text: string): Promise<string[]> => (await lookAt(filters, mailOf(text))).classes;
const zip = (name: string, content: Buffer | string): Buffer => zipOf([{ name, content }]);

/** All entries say that they are packed so. */
function methodOf(method: number, zipped: Buffer): Buffer {
  const at = zipped.indexOf('PK\x01\x02');
  zipped.writeUInt16LE(method, at + 10);
  return zipped;
}

function sizeOf(digits: string, tar: Buffer): Buffer {
  tar.write(digits, 124);
  return tar;
}

function tars(levels: number): Buffer {
  let tar = tarOf([{ name: 'a.txt', content: 'x' }]);
  for (let level = 1; level < levels; level++) tar = tarOf([{ name: 'b.tar', content: tar }]);
  return tar;
}

describe('a file that runs', () => {
  const cases: readonly [string, string][] = [
    ['by its name', named('setup.EXE', 'x')],
    ['by its name, with blanks and dots that Windows drops', named('setup.exe. .', 'x')],
    ['by its octets', named('readme', EXE)],
    ['a shortcut', named('x', Buffer.from('L\0\0\0\x01\x14\x02\0', 'latin1'))],
    ['RFC 2231', withFile("Content-Disposition: attachment; filename*0*=utf-8''inv; filename*1*=%2Ejs", 'x')],
    ['RFC 2047', withFile('Content-Type: a/b; name="=?utf-8?b?aS52YnM=?="', 'x')],
    ['a text with a name', withFile('Content-Type: text/plain; name=x.hta', 'x')],
    ['in a zip', named('x.zip', zip('dir/invoice.pdf.scr', 'x'))],
    ['in a zip, by its octets', named('x.zip', zip('invoice', EXE))],
    ['in a zip that has another name', named('x.pdf', zip('a.exe', 'x'))],
    ['in a zip in a zip in a zip', named('x.zip', zip('b.zip', zip('c.zip', zip('d.exe', 'x'))))],
    ['in a zip in a zip with no name of one', named('x.zip', zip('b', zip('c.exe', 'x')))],
    [
      'in a tar.gz',
      named(
        'x.tar.gz',
        gzipSync(
          tarOf([
            { name: 'a.sh', content: '' },
            { name: 'b.vbs', content: 'x' },
          ]),
        ),
      ),
    ],
    ['in a gz', named('x.exe.gz', gzipSync('x'))],
    ['in a zip behind other octets', named('x.zip', Buffer.concat([Buffer.from('junk'), zip('a.exe', 'x')]))],
    ['in a bz2', named('x.bz2', BUNZIPS.program)],
    ['in a tar.bz2', named('x.tar.bz2', BUNZIPS.tar)],
    ['in a 7z with a packed header', named('x.7z', SEVEN_ZIPS.packedHeader)],
    ['in a 7z with a plain header', named('x.7z', SEVEN_ZIPS.plainHeader)],
    ['in a 7z in a zip in a zip', named('x.zip', zip('b.zip', zip('c.7z', SEVEN_ZIPS.packedHeader)))],
    ['in a rar in a tar', named('x.tar', tarOf([{ name: 'b.rar', content: rarOf(5, 'a.exe') }]))],
    ['in a bz2 in a zip', named('x.zip', zip('b.bz2', BUNZIPS.program))],
    ['in a 7z that packs nothing', named('x.7z', SEVEN_ZIPS.copied)],
    ['in a rar 4', named('x.rar', rarOf(4, 'a.exe'))],
    ['in a rar 5', named('x.rar', rarOf(5, 'a.exe'))],
    // Characters as they are; then one that is, a run of the plain name and three that are.
    ['in a rar 4, by its other name', named('x.rar', rarOf(4, 'a.txt', false, Buffer.from('\0\0a.ex\0e')))],
    [
      'in a rar 4, by its other name of runs',
      named('x.rar', rarOf(4, 'ab.txt', false, Buffer.from([0, 0b11_00_01_10, 1, 0x65, 0x78, 0x65, 0]))),
    ],
    ['in a zip, by its other name', named('x.zip', zipOf([{ name: 'a.txt', content: 'x', unicodeName: 'a.exe' }]))],
    [
      'in a zip that has what is in Office files',
      named(
        'a.zip',
        zipOf([
          { name: '[Content_Types].xml', content: 'x' },
          { name: 'a.exe', content: 'x' },
        ]),
      ),
    ],
    [
      'in a zip, behind a name of a document',
      withFile('Content-Type: a/b; name=a.zip\r\nContent-Disposition: attachment; filename=a.docx', zip('a.exe', 'x')),
    ],
    ['behind a long name', named(`${'a'.repeat(3000)}.exe`, 'x')],
    ['behind a long name in a tar', named('x.tar', tarOf([{ name: `${'a'.repeat(90)}.exe`, content: '' }]))],
    [
      'in a message in the message',
      named('m', `From: a\r\n\r\n`)
        .replace('application/octet-stream', 'text/x')
        .replace('--b--', `--b\r\nContent-Type: message/rfc822\r\n\r\n${named('x.exe', 'x')}\r\n--b--`),
    ],
  ];
  for (const [name, text] of cases)
    test(name, async () => assert.deepEqual(await classesOf(text), ['attachment.executable']));

  test('the evidence names it', async () => {
    const { found } = await lookAt(filters, mailOf(named('x.zip', zip('b.zip', zip('c.exe', 'x')))));
    assert.deepEqual(found, ['executable: c.exe in x.zip, level 2']);
  });
});

describe('a program in an archive of each kind, to three levels', () => {
  const KINDS: Readonly<Record<string, Buffer>> = {
    'a.zip': zip('setup.exe', 'x'),
    'a.7z': SEVEN_ZIPS.packedHeader,
    'a.rar': rarOf(5, 'setup.exe'),
    'a.tar': tarOf([{ name: 'setup.exe', content: 'x' }]),
    'a.tar.gz': gzipSync(tarOf([{ name: 'setup.exe', content: 'x' }])),
    'a.tar.bz2': BUNZIPS.tar,
    'a.exe.gz': gzipSync(EXE),
    'a.exe.bz2': BUNZIPS.program,
  };
  const OUTER: Readonly<Record<string, (name: string, content: Buffer) => Buffer>> = {
    zip,
    tar: (name, content) => tarOf([{ name, content }]),
    gz: (_name, content) => gzipSync(content),
  };
  for (const [name, archive] of Object.entries(KINDS)) {
    test(name, async () => {
      assert.deepEqual(await classesOf(named(name, archive)), ['attachment.executable']);
      for (const [kind, put] of Object.entries(OUTER)) {
        // A tar in a gz is one with it, and has a row of its own.
        if (kind === 'gz' && name === 'a.tar') continue;
        const second = put(name, archive);
        const third = put(`b.${kind}`, second);
        const fourth = put(`c.${kind}`, third);
        assert.deepEqual(await classesOf(named(`b.${kind}`, second)), ['attachment.executable'], `level 2 in ${kind}`);
        assert.deepEqual(await classesOf(named(`c.${kind}`, third)), ['attachment.executable'], `level 3 in ${kind}`);
        assert.ok((await classesOf(named(`d.${kind}`, fourth))).includes('attachment.limits'), `level 4 in ${kind}`);
      }
    });
  }
});

describe('other things that are said of a file', () => {
  const cases: readonly [string, string, string[]][] = [
    ['a program called a picture', named('holiday.jpg', EXE), ['attachment.disguised', 'attachment.executable']],
    ['macros by an Open XML file', named('a.docm', zip('word/vbaProject.bin', 'x')), ['attachment.macro']],
    [
      'macros by an OLE file',
      named('a.doc', Buffer.from(`\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1${'_VBA_PROJECT'.split('').join('\0')}\0`, 'latin1')),
      ['attachment.macro'],
    ],
    [
      'a zip with a password',
      named('a.zip', zipOf([{ name: 'a.txt', content: 'x', isEncrypted: true }])),
      ['attachment.encrypted'],
    ],
    ['a rar 4 with a password', named('a.rar', rarOf(4, 'a.txt', true)), ['attachment.encrypted']],
    ['a rar 5 with a password', named('a.rar', rarOf(5, 'a.txt', true)), ['attachment.encrypted']],
    ['an archive that is not looked into', named('a.xz', Buffer.from('\xfd7zXZ\0', 'latin1')), ['attachment.unread']],
    ['a zip that is none', named('a.zip', 'hello'), ['attachment.unread']],
    ['a damaged 7z', named('a.7z', Buffer.from("7z\xbc\xaf'\x1c", 'latin1')), ['attachment.unread']],
    ['a 7z with a password for its files', named('a.7z', SEVEN_ZIPS.withPassword), ['attachment.encrypted']],
    ['a 7z with a password for its names', named('a.7z', SEVEN_ZIPS.withSecretNames), ['attachment.encrypted']],
    ['an archive in a rar, which is not unpacked', named('a.rar', rarOf(5, 'b.zip')), ['attachment.unread']],
    ['a damaged bz2', named('a.bz2', BUNZIPS.program.subarray(0, -20)), ['attachment.unread']],
    ['a file called an archive that is none', named('a.ace', 'x'), ['attachment.unread']],
    [
      'an archive in a zip that is packed in another way',
      named('a.zip', methodOf(12, zip('b.zip', 'x'))),
      ['attachment.unread'],
    ],
    ['a damaged archive in a zip', named('a.zip', zip('b.zip', 'x')), ['attachment.unread']],
    ['a damaged gz', named('a.gz', '\x1f\x8b\x08'), ['attachment.unread']],
    [
      'a tar with a size that is none',
      named('a.tar', sizeOf('99999999999', tarOf([{ name: 'a', content: 'x' }]))),
      ['attachment.unread'],
    ],
    ['a tar in a tar in a tar in a tar', named('a.tar', tars(4)), ['attachment.limits']],
    ['a rar that ends in a header', named('a.rar', rarOf(5, 'a.txt').subarray(0, -3)), ['attachment.unread']],
    ['a damaged zip', named('a.zip', 'PK\x03\x04 and no end'), ['attachment.unread']],
    [
      'a piece of a message',
      'From: a\r\nDate: b\r\nContent-Type: message/partial; id=x\r\n\r\nhalf',
      ['content.partial'],
    ],
  ];
  for (const [name, text, want] of cases) test(name, async () => assert.deepEqual(await classesOf(text), want));
});

describe('nothing is said of', () => {
  const cases: readonly [string, string][] = [
    ['a message without files', 'From: a\r\nDate: b\r\n\r\nsetup.exe\r\n'],
    [
      'a picture, a document, a text',
      named('a.jpg', '\xff\xd8\xff').replace(
        '--b--',
        '--b\r\nContent-Type: application/pdf; name=b.pdf\r\n\r\n%PDF-1.7\r\n--b--',
      ),
    ],
    [
      'a zip with papers',
      named(
        'a.zip',
        zipOf([
          { name: 'a.pdf', content: '%PDF-' },
          { name: 'b/c.txt', content: 'x' },
        ]),
      ),
    ],
    [
      'an Open XML file without macros',
      named(
        'a.docx',
        zipOf([
          { name: '[Content_Types].xml', content: 'x' },
          { name: 'word/media/a.exe', content: 'x' },
        ]),
      ),
    ],
    ['a 7z with papers', named('a.7z', SEVEN_ZIPS.paper)],
    ['an extension in the middle', named('a.exe.txt', 'x')],
    ['a signature', withFile('Content-Type: application/pgp-signature; name=signature.asc', 'x')],
  ];
  for (const [name, text] of cases) test(name, async () => assert.deepEqual(await classesOf(text), []));
});

test('a 7z that says the same of its folders again and again, or has folders of nothing, is not read', async () => {
  const name = Buffer.from('a.exe\0', 'utf16le');
  const sevenZip = (folder: readonly number[], sub: readonly number[]): Buffer => {
    const streams = [7, 11, 1, 0, ...folder, 0, ...sub, 0];
    const header = Buffer.from([1, 4, ...streams, 5, 1, 17, 1 + name.length, 0, ...name, 0, 0]);
    const start = Buffer.alloc(32);
    start.write("7z\xbc\xaf'\x1c", 'latin1');
    start.writeBigUInt64LE(BigInt(header.length), 20);
    return Buffer.concat([start, header]);
  };
  const one = [1, 1, 0, 12, 5];
  const digests = [10, 1, 0, 0, 0, 0];
  const read = async (bytes: Buffer) => (await classesOf(named('a.7z', bytes))).join();
  assert.equal(await read(sevenZip(one, [8, 13, 1, 9, ...digests, 0])), 'attachment.executable');
  for (const sub of [
    [8, 0, 8, 0],
    [8, 13, 1, 13, 1, 0],
    [8, 9, 9, 0],
    [8, ...digests, ...digests, 0],
  ])
    assert.equal(await read(sevenZip(one, sub)), 'attachment.unread', String(sub));
  assert.equal(await read(sevenZip([0, 12], [])), 'attachment.unread');
});

test('a large message is looked at in a thread, and dots at seams are undone', async () => {
  const filler = `${'.'.repeat(70)}\r\n..\r\n`.repeat(6000);
  const stuffed = named('x.exe', 'x').replace('see the file', () => filler.replaceAll(/^\./gm, '..'));
  for (const size of [1, 7, 4096, 70_000, stuffed.length]) {
    const { found } = await lookAt(filters, { ...mailOf(''), message: messageOf(stuffed, size) });
    assert.deepEqual(found, ['executable: x.exe'], `pieces of ${size}`);
  }
});

test('a message larger than is looked at is said to be so, and never clean', async () => {
  const small = await filtersOf('attachments.enabled = true\ncontent.max_size = "1KiB"');
  const { classes } = await lookAt(small, mailOf(named('x.exe', 'x'.repeat(2000))));
  assert.deepEqual(classes, ['content.size']);
});

test('a message that is not taken apart in time fails both filters, and the next one is looked at', async () => {
  const quick = await filtersOf('attachments.enabled = true\ncontent.deadline = "10ms"');
  const large = named(
    'x.zip',
    zipOf(Array.from({ length: 200 }, (_, i) => ({ name: `${i}.zip`, content: Buffer.alloc(1 << 20, i) }))),
  );
  const { failed } = await lookAt(quick, mailOf(large));
  assert.deepEqual(failed, ['content: Error: its time is over', 'attachments: Error: its time is over']);
  assert.deepEqual((await lookAt(filters, mailOf(named('x.zip', zip('a.exe', 'x'))))).classes, [
    'attachment.executable',
  ]);
});
