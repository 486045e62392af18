/**
 * ClamAV and Rspamd as Debian has them, asked by the filters: what they find, what they cannot look at, and what they are told.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Call } from '../../src/filter/call.ts';
import type { Filter, Mail, Seen } from '../../src/filter/filter.ts';
import { FakeDns } from '../fake/dns.ts';
import { zipOf } from '../kit/archives.ts';
import { filtersOf, mailOf, messageOf } from '../kit/mail.ts';
import { MALICE, type Scanner, startClamd, startRspamd } from '../kit/scanners.ts';

const HEADER =
  'From: a@a.example\r\nTo: b@b.example\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n';
const PLAIN = `${HEADER}\r\nhello\r\n`;

const theFilter = async (name: string, lines: string): Promise<Filter<'body'>> =>
  (await filtersOf(lines)).body.find((filter) => filter.name === name) as Filter<'body'>;

const seenBy = async (filter: Filter<'body'>, mail: Mail): Promise<readonly Seen[]> => filter.look(mail, new Call());

function attached(name: string, content: Buffer): string {
  const base64 = content.toString('base64').replace(/.{76}/g, '$&\r\n');
  return `${HEADER}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream; name=${name}\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64}\r\n--b--\r\n`;
}

describe('ClamAV', () => {
  let scanner: Scanner;
  let filter: Filter<'body'>;
  before(async () => {
    scanner = await startClamd(['StreamMaxLength 2M', 'MaxScanSize 2M', 'MaxFileSize 1M', 'MaxRecursion 5']);
    filter = await theFilter('clamd', `clamd.server = "${scanner.socket}"\nclamd.max_size = "3MiB"`);
  });
  after(async () => {
    filter.close?.();
    await scanner.close();
  });

  test('says nothing of a clean message, and names what it finds, in the text or in an attachment', async () => {
    assert.deepEqual(await seenBy(filter, mailOf(PLAIN)), []);
    for (const text of [`${HEADER}\r\n${MALICE}\r\n`, attached('a.bin', Buffer.from(`xx${MALICE}xx`))]) {
      const [found, ...others] = await seenBy(filter, mailOf(text));
      assert.deepEqual([found?.class, found?.evidence, others], ['virus.found', 'Postern.Test.UNOFFICIAL', []]);
    }
  });

  test('looks into archives in archives in archives', async () => {
    let zip = zipOf([{ name: 'a.txt', content: `xx${MALICE}xx` }]);
    for (let depth = 1; depth <= 3; depth++) {
      const [found] = await seenBy(filter, mailOf(attached('a.zip', zip)));
      assert.equal(found?.class, 'virus.found', `${depth} deep`);
      zip = zipOf([{ name: `${depth}.zip`, content: zip }]);
    }
    // Deeper than it was told to look, which is never "clean".
    assert.equal((await seenBy(filter, mailOf(attached('a.zip', zip))))[0]?.class, 'virus.unscanned');
  });

  test('gets the message whole, without the dots of SMTP, in whatever pieces it came', async () => {
    const [one, two] = [MALICE.slice(0, 9), MALICE.slice(9)];
    // The word begins with no dot, but a line does that stands before it and is part of a zip's or a text's own octets.
    const text = `${HEADER}\r\n..\r\n..${'x'.repeat(50)}\r\n${one}${two}\r\n`;
    for (const size of [1, 7, 64, text.length])
      assert.equal(
        (await seenBy(filter, mailOf('', { message: messageOf(text, size) })))[0]?.class,
        'virus.found',
        `${size}`,
      );
  });

  test('too large is never clean: over our size it is not asked, over its own it says so', async () => {
    const large = (bytes: number): Mail =>
      mailOf(`${HEADER}\r\n${`${'x'.repeat(70)}\r\n`.repeat(bytes / 72)}${MALICE}\r\n`);
    const ours = await seenBy(filter, large(3.5 * 2 ** 20));
    assert.deepEqual(
      ours.map((one) => one.class),
      ['virus.unscanned'],
    );
    assert.match(ours[0]?.evidence ?? '', /^\d+ octets$/);
    const its = await seenBy(filter, large(2.5 * 2 ** 20));
    assert.deepEqual(
      its.map((one) => one.class),
      ['virus.unscanned'],
    );
    assert.match(its[0]?.evidence ?? '', /size limit exceeded/);
    // Within the stream's limit, beyond that of one file: it would say OK if it were not told to tell.
    const deep = await seenBy(filter, large(1.5 * 2 ** 20));
    assert.deepEqual(
      deep.map((one) => one.class),
      ['virus.unscanned'],
    );
    assert.match(deep[0]?.evidence ?? '', /^Heuristics\.Limits\.Exceeded/);
  });
});

describe('Rspamd', () => {
  const dns = new FakeDns({
    'a.example': { TXT: ['v=spf1 ip4:10.1.2.0/24 -all'] },
    'b.example': { TXT: ['v=spf1 -all'] },
    '_dmarc.b.example': { TXT: ['v=DMARC1; p=reject'] },
  });
  let scanner: Scanner;
  let filter: Filter<'body'>;
  before(async () => {
    await dns.start();
    scanner = await startRspamd(dns.port);
    filter = await theFilter('rspamd', `rspamd.server = "${scanner.socket}"`);
  });
  after(async () => {
    filter.close?.();
    await scanner.close();
    dns.close();
  });

  test('looks a private address up as any other, since our settings are asked for', async () => {
    const [passed] = await seenBy(filter, mailOf(PLAIN, { source: '10.1.2.3' }));
    assert.match(passed?.evidence ?? '', /R_SPF_ALLOW/);
    const text = PLAIN.replaceAll('a@a.example', 'a@b.example');
    const [failed] = await seenBy(filter, mailOf(text, { source: '10.9.9.9', sender: 'a@b.example' }));
    assert.match(failed?.evidence ?? '', /R_SPF_FAIL/);
    assert.match(failed?.evidence ?? '', /DMARC_POLICY_REJECT/);
    assert.doesNotMatch(failed?.evidence ?? '', /HFILTER|RBL|GREYLIST/, 'what says nothing of customers is left out');
  });

  test('finds the test string for spam filters', async () => {
    const gtube = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');
    const [found] = await seenBy(filter, mailOf(`${HEADER}\r\n${gtube}\r\n`));
    assert.deepEqual([found?.class, found?.name, found?.score], ['spam.rspamd', 'reject', 1]);
    assert.match(found?.evidence ?? '', /GTUBE/);
  });

  test('is told an envelope that has anything in it', async () => {
    const odd = mailOf(PLAIN, {
      helo: 'a\r\nX: y',
      sender: 'ü"\0@a.example',
      recipients: ['b\n@b.example', 'c@c.example'],
    });
    assert.equal((await seenBy(filter, odd)).length, 1);
    const many = mailOf(PLAIN, {
      recipients: Array.from({ length: 5000 }, (_, i) => `${'x'.repeat(60)}${i}@b.example`),
    });
    assert.equal((await seenBy(filter, many)).length, 1);
  });
});
