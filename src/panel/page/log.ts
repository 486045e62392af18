/** The journal: what is typed is looked for. One line finds an id, an address, a sender, a class; the rest narrows it down. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Attempt } from '../../record/events.ts';
import type { LogAnswer } from '../../record/query.ts';
import { ask } from './api.ts';
import { type Page, useAsked, Verdict, Wrong } from './parts.ts';
import { address, shown, time } from './words.ts';

const TYPING_MS = 300;
const LIMIT = 200;
const SPANS: readonly (readonly [string, number | undefined])[] = [
  ['last hour', 3_600_000],
  ['last day', 86_400_000],
  ['last week', 604_800_000],
  ['all', undefined],
];

type Query = Readonly<Record<string, string>>;

/** What one word means: an id, an address of a host or of mail, a class. */
export function meaningOf(word: string): Query {
  const pasted = /id=(\w{16})/.exec(word)?.[1] ?? word.trim();
  if (pasted === '') return {};
  if (/^[0-9A-HJKMNP-TV-Z]{16}$/i.test(pasted)) return { id: pasted };
  if (/^[0-9.]+(?:\/\d+)?$/.test(pasted) || /^[0-9a-f]*:[0-9a-f:.]*(?:\/\d+)?$/i.test(pasted))
    return { source: pasted };
  if (pasted.startsWith('>')) return { recipient: pasted.slice(1).trim() };
  if (pasted.includes('@') || pasted === '<>') return { sender: pasted };
  if (/^[a-z]+(?:\.[a-z0-9-]+)?$/.test(pasted)) return { class: pasted };
  return { subscriber: pasted };
}

export function Log({ query }: Page): VNode {
  const [word, setWord] = useState(query.get('q') ?? '');
  const [asked, setAsked] = useState(word);
  const [span, setSpan] = useState(1);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(word), TYPING_MS);
    return () => clearTimeout(timer);
  }, [word]);
  const lengthMs = SPANS[span]?.[1];
  const filter = meaningOf(asked);
  const found = useAsked(`${asked} ${span}`, () =>
    ask<LogAnswer>('/api/log', {
      ...filter,
      limit: LIMIT,
      since: filter['id'] === undefined && lengthMs !== undefined ? Date.now() - lengthMs : undefined,
    }),
  );
  const [meaning] = Object.entries(filter);
  return html`
    <h1>Log</h1>
    <form class="search" onSubmit=${(event: Event) => {
      event.preventDefault();
      setAsked(word);
      found.again();
    }}>
      <label>Find <input type="search" name="q" autofocus spellcheck=${false} value=${word} placeholder="id, host, sender, >recipient, class, subscriber"
        onInput=${(event: InputEvent) => setWord((event.target as HTMLInputElement).value)} /></label>
      <label>in <select value=${span} onChange=${(event: Event) => setSpan(Number((event.target as HTMLSelectElement).value))}>
        ${SPANS.map(([label], i) => html`<option value=${i}>${label}</option>`)}
      </select></label>
      <button type="button" onClick=${() => save(found.value?.rows ?? [], 'csv')}>CSV</button>
      <button type="button" onClick=${() => save(found.value?.rows ?? [], 'json')}>JSON</button>
    </form>
    <p class="dim" aria-live="polite">${meaning ? `${meaning[0]} ${shown(meaning[1])}` : 'everything'}: ${found.value ? `${found.value.rows.length}${found.value.more ? ' and more' : ''}` : '…'}</p>
    <${Wrong} text=${found.error} />
    ${found.value ? html`<${Rows} rows=${found.value.rows} />` : null}
  `;
}

export function Rows({ rows }: { readonly rows: readonly Attempt[] }): VNode {
  if (rows.length === 0) return html`<p>Nothing found.</p>`;
  return html`<div class="wide"><table class="log">
    <thead><tr><th>Time</th><th>Host</th><th>From</th><th>To</th><th>Verdict</th><th>Class</th></tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr key=${row.id}>
        <td><a href=${`#/message/${row.id}`}>${time(row.at)}</a></td>
        <td><a href=${`#/senders/${encodeURIComponent(row.source)}`}>${shown(row.source)}</a></td>
        <td class="text">${address(row.sender)}</td>
        <td class="text">${address(row.recipients[0]?.recipient)}${row.recipients.length > 1 ? ` +${row.recipients.length - 1}` : ''}</td>
        <td><${Verdict} verdict=${row.verdict} /></td>
        <td>${row.class}${row.wouldBe === undefined ? '' : ` (would be ${row.wouldBe})`}</td>
      </tr>`,
    )}</tbody></table></div>`;
}

const COLUMNS = [
  'time',
  'id',
  'source',
  'network',
  'subscriber',
  'identity',
  'sender',
  'recipient',
  'verdict',
  'class',
  'sizeBytes',
  'reply',
] as const;

/** A cell that a spreadsheet would take for a formula gets an apostrophe before it. */
function cell(value: string | number | undefined): string {
  const text = String(value ?? '');
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function save(rows: readonly Attempt[], as: 'csv' | 'json'): void {
  const flat = rows.map(
    (row): Record<(typeof COLUMNS)[number], string | number | undefined> => ({
      ...row,
      time: new Date(row.at).toISOString(),
      recipient: row.recipients.map(({ recipient }) => recipient).join(' '),
    }),
  );
  const text =
    as === 'json'
      ? JSON.stringify(rows, undefined, 1)
      : [COLUMNS.join(','), ...flat.map((row) => COLUMNS.map((key) => cell(row[key])).join(','))].join('\r\n');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: as === 'json' ? 'application/json' : 'text/csv' }));
  link.download = `postern-log.${as}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
