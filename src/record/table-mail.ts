/** A table of sums as a mail with a file. */
import { dateText } from './arf.ts';
import { compose, type OwnMail, type Writer } from './own-mail.ts';

export type TableMail = {
  readonly to: string;
  readonly kind: 'daily' | 'identities';
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly csv: string;
  readonly nowMs: number;
};

export function composeTable(writer: Writer, { to, kind, sinceMs, untilMs, csv, nowMs }: TableMail): Promise<OwnMail> {
  const day = new Date(sinceMs).toISOString().slice(0, kind === 'daily' ? 10 : 13);
  const what = kind === 'daily' ? 'subscriber' : 'identity';
  return compose(writer, {
    ...{ to, nowMs },
    subject: `What was sent, by ${what}: ${day.replace('T', ' ')}${kind === 'daily' ? '' : 'h UTC'}`,
    type: 'multipart/mixed',
    parts: [
      {
        kind: 'text',
        text: `A row for each ${what}, as ${writer.gateway} has seen it\nfrom ${dateText(sinceMs)}\nto ${dateText(untilMs)}.\n`,
      },
      {
        kind: 'file',
        name: `postern-${kind}-${day.replaceAll(':', '')}.csv`,
        type: 'text/csv; charset=utf-8',
        text: csv,
      },
    ],
  });
}
