/** One sender: whose it is, what holds for it, what is counted, what it sent; and the lock, one click away. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Lock, Whose } from '../../ledger/language.ts';
import type { HistoryRow, LogAnswer, TopRow } from '../../record/query.ts';
import { ask, type Me } from './api.ts';
import { Ladder } from './ladder.ts';
import { Chart } from './chart.ts';
import { LockForm, Unlock } from './locks.ts';
import { Rows } from './log.ts';
import { Fact, type Page, useAsked, Wrong } from './parts.ts';
import { shown, time } from './words.ts';

type Count = {
  readonly unit: string;
  readonly period: string;
  readonly used: number;
  readonly limit: number;
  readonly identity?: string;
};
type Sender = Pick<Whose, 'mode' | 'step' | 'quota'> & {
  readonly address: string;
  readonly network: string;
  readonly subscriber?: string;
  readonly subject: string;
  readonly settings: Readonly<
    Record<string, { readonly value?: unknown; readonly level: string; readonly from?: string }>
  >;
  readonly counts: readonly Count[];
  readonly locks: readonly Lock[];
};

const STEP_MS = 3_600_000;
const WEEK_MS = 7 * 86_400_000;

export function Senders({ rest, me }: Page & { readonly me: Me }): VNode {
  if (rest === '') return html`<${Search} />`;
  return html`<${One} key=${rest} address=${rest} me=${me} />`;
}

function Search(): VNode {
  const [word, setWord] = useState('');
  const top = useAsked('top', () => ask<readonly TopRow[]>('/api/top', { by: 'source', limit: 50 }));
  return html`
    <h1>Senders</h1>
    <form class="search" onSubmit=${(event: Event) => {
      event.preventDefault();
      if (word.trim() !== '') location.hash = `#/senders/${encodeURIComponent(word.trim())}`;
    }}>
      <label>Address <input type="search" autofocus spellcheck=${false} placeholder="198.51.100.7" value=${word} onInput=${(event: InputEvent) => setWord((event.target as HTMLInputElement).value)} /></label>
      <button>Show</button>
    </form>
    <${Wrong} text=${top.error} />
    <table><thead><tr><th>Host</th><th>Attempts, last day</th><th>Accepted</th><th>Deferred</th><th>Rejected</th><th>Last</th></tr></thead>
    <tbody>${(top.value ?? []).map(
      (row) =>
        html`<tr key=${row.who}><td><a href=${`#/senders/${encodeURIComponent(row.who)}`}>${shown(row.who)}</a></td><td class="number">${row.attempts}</td><td class="number">${row.accepted}</td><td class="number">${row.deferred}</td><td class="number">${row.rejected}</td><td>${time(row.last)}</td></tr>`,
    )}</tbody></table>
  `;
}

function One({ address, me }: { readonly address: string; readonly me: Me }): VNode {
  const sender = useAsked(address, () => ask<Sender>(`/api/senders/${encodeURIComponent(address)}`));
  const recent = useAsked(address, () => ask<LogAnswer>('/api/log', { source: address, limit: 20 }));
  const history = useAsked(address, () =>
    ask<readonly HistoryRow[]>('/api/history', { source: address, step: STEP_MS, since: Date.now() - WEEK_MS }),
  );
  const { value } = sender;
  return html`
    <h1>${shown(address)}</h1>
    <${Wrong} text=${sender.error} />
    ${
      value
        ? html`
          <dl class="facts">
            <${Fact} name="network">${value.network}<//>
            <${Fact} name="subscriber">${value.subscriber ?? '–'}<//>
            <${Fact} name="counted as">${value.subject}<//>
            <${Fact} name="mode">${value.mode}<//>
          </dl>
          ${value.locks.map((lock) => html`<p class="wrong">Locked since ${time(lock.since)} by ${shown(lock.who)}: ${shown(lock.reason)} ${me.role === 'read' ? null : html`<${Unlock} lock=${lock} done=${sender.again} />`}</p>`)}
          ${me.role === 'read' || value.locks.length > 0 ? null : html`<${LockForm} subject=${address} done=${sender.again} />`}
          <${Ladder} subject=${address} mode=${value.mode} step=${value.step} me=${me} done=${sender.again} />
          ${value.quota ? html`<${QuotaSteps} quota=${value.quota} />` : null}
          <section><h2>Limits</h2><${Counts} counts=${value.counts} /></section>
        `
        : null
    }
    <section><h2>Last week</h2><${Wrong} text=${history.error} />${history.value ? html`<${Week} rows=${history.value} />` : null}</section>
    <section><h2>Last attempts</h2><${Wrong} text=${recent.error} />${recent.value ? html`<${Rows} rows=${recent.value.rows} />` : null}</section>
    ${value ? html`<section><h2>What holds for it</h2><${Settings} of=${value.settings} /></section>` : null}
  `;
}

function Counts({ counts }: { readonly counts: readonly Count[] }): VNode {
  if (counts.length === 0) return html`<p class="dim">Nothing is counted: no limit is set, or it sent nothing yet.</p>`;
  return html`<table><thead><tr><th>Of</th><th>What</th><th>Used</th><th>Limit</th><th></th></tr></thead><tbody>${counts.map(
    (each) =>
      html`<tr><td>${shown(each.identity ?? '')}</td><td>${each.unit} per ${each.period}</td><td class="number">${each.used}</td><td class="number">${each.limit}</td><td><meter min="0" max=${each.limit} high=${each.limit * 0.8} value=${each.used}></meter></td></tr>`,
  )}</tbody></table>`;
}

function QuotaSteps({ quota }: { readonly quota: NonNullable<Whose['quota']> }): VNode {
  return html`<section><h2>Earned quota: ${quota.quota} recipients a day</h2>
    <table><tbody>${quota.steps.map(
      ({ at, from, to, reason }) =>
        html`<tr><td>${time(at)}</td><td class="number">${from}</td><td class="number">${to}</td><td class="text">${shown(reason)}</td></tr>`,
    )}</tbody></table></section>`;
}

function Week({ rows }: { readonly rows: readonly HistoryRow[] }): VNode {
  const drawn = useMemo(() => {
    const by = new Map(rows.map((row) => [row.at, row]));
    const end = Date.now();
    const begin = end - WEEK_MS - ((end - WEEK_MS) % STEP_MS);
    const at = Array.from({ length: Math.floor((end - begin) / STEP_MS) + 1 }, (_, i) => begin + i * STEP_MS);
    const of = (key: 'accepted' | 'rejected'): number[] => at.map((each) => by.get(each)?.[key] ?? 0);
    return {
      at,
      lines: [
        { label: 'accepted', colour: '--good', values: of('accepted') },
        { label: 'rejected', colour: '--bad', values: of('rejected') },
      ],
    };
  }, [rows]);
  return html`<${Chart} at=${drawn.at} lines=${drawn.lines} height=${140} />`;
}

function Settings({ of }: { readonly of: Sender['settings'] }): VNode {
  const all = Object.entries(of);
  const set = all.filter(([, { level }]) => level !== 'default');
  const rest = all.filter(([, { level }]) => level === 'default');
  return html`
    ${set.length > 0 ? html`<${SettingRows} rows=${set} />` : html`<p class="dim">Nothing but defaults.</p>`}
    <details><summary>${rest.length} defaults</summary><${SettingRows} rows=${rest} /></details>
  `;
}

function SettingRows({ rows }: { readonly rows: readonly (readonly [string, Sender['settings'][string]])[] }): VNode {
  return html`<div class="wide"><table><thead><tr><th>Setting</th><th>Value</th><th>Level</th><th>From</th></tr></thead><tbody>${rows.map(
    ([key, { value, level, from }]) =>
      html`<tr key=${key}><td>${key}</td><td class="text">${value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value)}</td><td>${level}</td><td class="dim text">${from ?? ''}</td></tr>`,
  )}</tbody></table></div>`;
}
