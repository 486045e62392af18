/** Mails of honest people and programs, of every make that filters may stumble over. */
import { gzipSync } from 'node:zlib';
import { BUNZIPS, named, SEVEN_ZIPS, tarOf, withFile, zipOf } from './archives.ts';
import { aDaysMail } from './campaign.ts';

const HEADER =
  'Received: from app by mx.a.example; Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: "Ann, Sales" <ann@a.example>\r\nTo: b@b.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.example>\r\nMIME-Version: 1.0\r\n';

const paper = (name: string, content: string): { readonly name: string; readonly content: string } => ({
  name,
  content,
});
const papers = [paper('2026/letter.pdf', '%PDF-1.7'), paper('2026/list.csv', 'a;b'), paper('readme', 'x')];
const document = (...more: string[]): Buffer =>
  zipOf(
    ['[Content_Types].xml', 'word/document.xml', 'word/embeddings/object.bin', ...more].map((name) => paper(name, 'x')),
  );

const MADE: readonly string[] = [
  `${HEADER}\r\nHello Ben,\r\n\r\nthe setup.exe is on https://www.a.example/download/setup.exe\r\n-- \r\nAnn\r\n`,
  // Devices: no Date, no Message-ID, no type, 8 bits that nobody has announced.
  'From: printer@a.example\r\nSubject: toner l\xe4uft aus\r\n\r\nCyan 3 %\r\n',
  'From: root@host.a.example (Cron Daemon)\r\nTo: root\r\nSubject: Cron <root@host> test -x /usr/sbin/anacron\r\nDate: x\r\n\r\n/bin/sh: 1: x: not found\r\n',
  `${HEADER}Content-Type: multipart/alternative; boundary="=_b"\r\n\r\n--=_b\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nhi\r\n--=_b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n--c\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p style=3D"a">hi <img src=3D"cid:1"><a href=3D"https://a.example/?a=3D1&amp;b=3D2">x</a>\r\n--c\r\nContent-Type: image/png; name=a.png\r\nContent-ID: <1>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--c--\r\n--=_b--\r\n`,
  // A forwarded message, a bounce, a signed one, an invitation, a list post.
  `${HEADER}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nFYI\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename="an old mail.eml"\r\n\r\n${HEADER}\r\nold\r\n--b--\r\n`,
  `From: MAILER-DAEMON@a.example\r\nTo: x@b.example\r\nSubject: failure\r\nDate: x\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nno such user\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a.example\r\n\r\nFinal-Recipient: rfc822; y@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n${HEADER}--b--\r\n`,
  `${HEADER}Content-Type: multipart/signed; micalg=sha-256; protocol="application/pkcs7-signature"; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsigned\r\n--b\r\nContent-Type: application/pkcs7-signature; name="smime.p7s"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7s"\r\n\r\nMIAGCSqGSIb3\r\n--b--\r\n`,
  `${HEADER}Content-Type: text/calendar; method=REQUEST; charset=utf-8; name=invite.ics\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n`,
  `${HEADER}List-Id: <l.a.example>\r\nList-Unsubscribe: <https://a.example/u>\r\nPrecedence: list\r\nSender: l-bounces@a.example\r\n\r\n> old\r\nnew\r\n`,
  withFile(
    "Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%20aus%20K%C3%B6ln.pdf",
    '%PDF-1.7',
  ),
  named('a.docx', document(), 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'),
  named('with macros.xlsm', document('xl/vbaProject.bin')),
  named('papers.zip', zipOf(papers)),
  named('secret.zip', zipOf([{ ...paper('salaries.xlsx', 'x'), isEncrypted: true }])),
  named('papers.tar.gz', gzipSync(tarOf(papers))),
  named('paper.7z', SEVEN_ZIPS.paper),
  named('secret.7z', SEVEN_ZIPS.withPassword),
  named('log.gz', gzipSync('line\n'.repeat(100))),
  named('nothing.bz2', BUNZIPS.nothing),
  named('clip.mp4', Buffer.alloc(200_000, 7)),
  named('page.html', '<html><body onload="x()">report</body></html>', 'text/html'),
  // Both to be mended by their senders, and carried all the same.
  `${HEADER}Subject: twice\r\n\r\nhello\r\n`,
  `${HEADER}\r\n${'a long paragraph without any end '.repeat(60)}\r\n`,
];

/** `others` of the ordinary ones, newsletters and list posts of a day besides. */
export function goodMails(seed: number, others: number): string[] {
  const day = aDaysMail(seed, 0, others, Math.ceil(others / 10)).map(({ text }) => text);
  return [...MADE, ...day.slice(0, others)];
}
