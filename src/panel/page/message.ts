/** The way of one message, in words: why was it refused is the operator's third question. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import type { Complaint } from '../../ledger/complaints.ts';
import type { Attempt } from '../../record/events.ts';
import type { LogAnswer } from '../../record/query.ts';
import { ask } from './api.ts';
import { ClassLink, type Page, useAsked, Verdict, Wrong } from './parts.ts';
import { address, bytes, shown, time, took } from './words.ts';

export function Message({ rest }: Page): VNode {
  const found = useAsked(rest, () => ask<Found>(`/api/messages/${encodeURIComponent(rest)}`));
  const rows = [...(found.value?.rows ?? [])].reverse();
  const complaints = found.value?.complaints ?? [];
  return html`
    <h1>Message ${shown(rest)}</h1>
    <${Wrong} text=${found.error} />
    ${rows.map((row) => html`<${Story} key=${row.id} row=${row} complaints=${complaints.filter(({ id }) => id === row.id)} />`)}
  `;
}

type Found = LogAnswer & { readonly complaints: readonly Complaint[] };

type Step = readonly [title: string, ...lines: unknown[]];

function stepsOf(row: Attempt, complaints: readonly Complaint[]): readonly Step[] {
  const known = row.subscriber === undefined ? '' : `, subscriber ${row.subscriber}`;
  return [
    [
      'Arrival',
      html`<a href=${`#/senders/${encodeURIComponent(row.source)}`}>${shown(row.source)}</a> called ${shown(row.destination)} port ${row.destinationPort}. Network ${row.network}${known}, mode ${row.mode}.`,
      row.tls
        ? `Over ${row.tls.version}${row.tls.name === undefined ? '' : `, asking for ${shown(row.tls.name)}`}.`
        : 'In clear.',
      row.helo === undefined ? 'It said no HELO.' : `It said ${row.esmtp ? 'EHLO' : 'HELO'} ${shown(row.helo)}.`,
    ],
    ...(row.identity === undefined ? [] : [['Identity', address(row.identity)] as const]),
    [
      'Envelope',
      row.sender === undefined
        ? 'It began no message.'
        : `From ${row.sender === '<>' ? 'the null sender' : address(row.sender)}.`,
      ...row.recipients
        .slice(0, 20)
        .map(
          ({ recipient, code, class: of }) =>
            `To ${address(recipient)}: ${code === 0 ? 'no reply' : code}${code >= 300 ? `, ${of}` : ''}.`,
        ),
      ...(row.recipients.length > 20 ? [`… and ${row.recipients.length - 20} more.`] : []),
    ],
    ...(row.sizeBytes > 0 || row.findings.length > 0
      ? [
          [
            'Findings',
            `${bytes(row.sizeBytes)}${row.verdictMs === undefined ? '' : `, looked at for ${took(row.verdictMs)}`}.`,
            ...(row.findings.length === 0
              ? ['Nothing was found.']
              : row.findings.map(
                  ({ filter, name, score, evidence }) =>
                    html`<strong>${name}</strong> by ${filter}, score ${score}${evidence === '' ? '' : html`: <q>${shown(evidence)}</q>`}`,
                )),
          ] as const,
        ]
      : []),
    [
      'Verdict',
      html`<${Verdict} verdict=${row.verdict} /> <${ClassLink} of=${row.class} />`,
      ...(row.wouldBe === undefined
        ? []
        : [html`Mode "enforce" would have refused it: <${ClassLink} of=${row.wouldBe} />.`]),
      ...(row.upstream === undefined
        ? []
        : [
            `${shown(row.upstream)}${legOf(row.upstreamTls)} ${isOurs(row) ? 'was not given the message; it had answered the recipients' : 'answered'}${row.relayMs === undefined ? '' : ` after ${took(row.relayMs)}`}: ${shown(row.upstreamReply ?? 'nothing')}`,
          ]),
    ],
    ['Reply', html`<q>${shown(row.reply)}</q>`, `${took(row.totalMs)} in all.`],
    ...(complaints.length === 0
      ? []
      : [['Complaints', ...complaints.map(({ at, type, via }) => `${time(at)}: ${type}, by ${via}.`)] as const]),
  ];
}

/** We refused it ourselves: what the server said was about recipients. */
function isOurs({ verdict, class: of }: Attempt): boolean {
  return verdict !== 'accept' && !of.startsWith('upstream.');
}

function legOf(tls: string | undefined): string {
  if (tls === undefined) return '';
  return tls.startsWith('TLS')
    ? `, over ${tls},`
    : tls === 'trusted'
      ? ', in clear over a link that is vouched for,'
      : ', in clear,';
}

function Story({ row, complaints }: { readonly row: Attempt; readonly complaints: readonly Complaint[] }): VNode {
  return html`<article class="story">
    <h2>${time(row.at)} <span class="dim">${row.id}</span></h2>
    <ol>${stepsOf(row, complaints).map(([title, ...lines]) => html`<li key=${title}><h3>${title}</h3>${lines.map((line) => html`<p>${line}</p>`)}</li>`)}</ol>
  </article>`;
}
