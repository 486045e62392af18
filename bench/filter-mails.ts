/** What is put through the filters: messages of 10 KB, signed by domains whose records a name server has. */
import { generateKeyPairSync } from 'node:crypto';
import { type DKIMSignOptions, dkimSign } from 'mailauth';
import type { Records } from '../test/fake/dns.ts';
import { named, zipOf } from '../test/kit/archives.ts';
import { Writer } from '../test/kit/campaign.ts';

const SIZE = 10_000;
const DOMAINS = 200;

export type SignedMails = {
  readonly mails: readonly { readonly bytes: Buffer; readonly domain: string }[];
  readonly zone: Readonly<Record<string, Records>>;
};

/** Text and HTML of the same, two links; one in ten has a zip, one in ten a picture. */
export async function signedMails(count: number): Promise<SignedMails> {
  const writer = new Writer(11);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const key = (publicKey.export({ type: 'spki', format: 'der' }) as Buffer).toString('base64');
  const domains = Array.from({ length: DOMAINS }, (_, i) => `d${i}.example`);
  const mails = [];
  for (let i = 0; i < count; i++) {
    const domain = domains[i % DOMAINS] as string;
    const text = Buffer.from(mail(writer, i, domain), 'latin1');
    const { signatures } = await dkimSign(text, {
      canonicalization: 'relaxed/relaxed',
      signatureData: [{ signingDomain: domain, selector: 's', privateKey: secret }],
    } as unknown as DKIMSignOptions);
    mails.push({ bytes: Buffer.concat([Buffer.from(signatures), text]), domain });
  }
  const zone = Object.fromEntries(
    domains.flatMap((domain): [string, Records][] => [
      [domain, { TXT: ['v=spf1 ip4:198.51.100.0/24 -all'] }],
      [`s._domainkey.${domain}`, { TXT: [`v=DKIM1; k=rsa; p=${key}`] }],
      [`_dmarc.${domain}`, { TXT: ['v=DMARC1; p=reject'] }],
    ]),
  );
  return { mails, zone };
}

function mail(writer: Writer, number: number, domain: string): string {
  const lines = Array.from({ length: 60 }, () => writer.words(10).join(' '));
  const text = `${lines.slice(0, 40).join('\r\n')}\r\nhttps://www.${writer.word()}.example/`;
  const html = lines.map((line) => `<p class=3D"x">${line.replace(' ', ' <b>')}</b></p>`).join('\r\n');
  const link = `<a href=3D"https://${writer.word()}.example/${writer.word()}">here</a>`;
  const fields = `From: a@${domain}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nSubject: ${writer.words(6).join(' ')}\r\nMessage-ID: <${number}@${domain}>\r\n`;
  const both = `Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n${text}\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${html}${link}\r\n--b--\r\n`;
  if (number % 10 > 1) return fields + both;
  const isZip = number % 10 === 0;
  const file = isZip
    ? zipOf([{ name: 'a.txt', content: text.slice(0, SIZE / 2) }])
    : Buffer.concat([Buffer.from('\x89PNG', 'latin1'), Buffer.alloc(SIZE * 0.7, number)]);
  return named(isZip ? 'papers.zip' : 'picture.png', file).replace(/^From: [^]*?Subject: files\r\n/, fields);
}
