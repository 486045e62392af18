/** What was refused beyond the reports in full, in one mail for each subscriber and hour. */
import { dateText } from './arf.ts';
import { compose, type OwnMail, type Writer } from './own-mail.ts';
import type { Digest } from './reports.ts';

export function composeDigest(
  writer: Writer,
  digest: Digest & { readonly to: string; readonly nowMs: number },
): Promise<OwnMail> {
  const { to, nowMs, subject, attempt, sinceMs, untilMs, reported, more, byClass, byIdentity, lastId } = digest;
  const whose = subject.replace(/^@/, '');
  const sums = (of: Readonly<Record<string, number>>): string[] =>
    Object.entries(of)
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `  ${String(count).padStart(7)}  ${plain(name)}`);
  const identities = sums(byIdentity);
  const text = [
    `${writer.gateway} has refused more mail from ${whose} than it reports one by one.`,
    '',
    `From:      ${dateText(sinceMs)}`,
    `To:        ${dateText(untilMs)}`,
    `Reported:  ${reported}`,
    `Besides:   ${more}`,
    '',
    'Of these, by class:',
    ...sums(byClass),
    ...(identities.length > 0 ? ['', 'By who it was behind it:', ...identities] : []),
    '',
    `The first was ${attempt.id}, the last ${lastId}.`,
    '',
  ].join('\n');
  return compose(writer, {
    to,
    subject: `Refused mail from ${whose}: ${more} more`,
    type: 'multipart/mixed',
    parts: [{ kind: 'text', text }],
    nowMs,
  });
}

function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ').slice(0, 300);
}
