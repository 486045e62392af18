/** Is it working, and who is the problem: the first of an operator's three questions, in one look. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Lock, Status } from '../../ledger/language.ts';
import type { HistoryRow, Listing, ReceiverRow, TopRow } from '../../record/query.ts';
import { ask, type Me } from './api.ts';
import { Chart } from './chart.ts';
import { Fact, useAsked, Wrong } from './parts.ts';
import { ago, bytes, shown, time } from './words.ts';

type Told = { readonly status: Status; readonly counts: Readonly<Record<string, number>>; readonly stepMs: number };

const STEP_MS = 300_000;
const DAY_MS = 86_400_000;
const AGAIN_MS = 30_000;
/** What receivers think changes slowly, and all of a day is read for it. */
const RECEIVERS_MS = 300_000;

export function Now({ me }: { readonly me: Me }): VNode {
  const [told, setTold] = useState<Told | undefined>();
  const [isLost, setLost] = useState(false);
  useEffect(() => {
    const events = new EventSource('/api/events');
    events.addEventListener('message', ({ data }) => {
      setTold(JSON.parse(data as string) as Told);
      setLost(false);
    });
    events.addEventListener('error', () => setLost(true));
    return () => events.close();
  }, []);
  const history = useAsked('history', () =>
    ask<readonly HistoryRow[]>('/api/history', { step: STEP_MS, since: Date.now() - DAY_MS }),
  );
  const top = useAsked('top', () => ask<readonly TopRow[]>('/api/top', { by: 'subscriber', limit: 10 }));
  const receivers = useAsked('receivers', () => ask<Receivers>('/api/receivers', { limit: 200 }));
  const locks = useAsked('locks', () => ask<readonly Lock[]>('/api/locks'));
  useEffect(() => {
    const timer = setInterval(() => {
      history.again();
      top.again();
      locks.again();
    }, AGAIN_MS);
    const slow = setInterval(receivers.again, RECEIVERS_MS);
    return () => {
      clearInterval(timer);
      clearInterval(slow);
    };
  }, []);
  return html`
    <h1>Now</h1>
    ${isLost ? html`<${Wrong} text="no word from the gateway; is the keeper running?" />` : null}
    ${told ? html`<${Standing} told=${told} isTenant=${me.tenant !== undefined} />` : html`<p class="dim">Waiting for the gateway…</p>`}
    <section><h2>Messages, last day</h2><${Wrong} text=${history.error} />${history.value ? html`<${Day} rows=${history.value} />` : null}</section>
    <div class="columns">
      <section><h2>Who sent most, last day</h2><${Wrong} text=${top.error} />${top.value ? html`<${Senders} rows=${top.value} />` : null}</section>
      <section><h2>Locks</h2><${Wrong} text=${locks.error} />${locks.value ? html`<${LatestLocks} locks=${locks.value} />` : null}</section>
    </div>
    <section><h2>How receivers see us, last day</h2><${Wrong} text=${receivers.error} />${receivers.value ? html`<${SeenBy} of=${receivers.value} />` : null}</section>
  `;
}

type Receivers = { readonly rows: readonly ReceiverRow[]; readonly listings: readonly Listing[] };

type Given = { readonly told: Told /** who looks does not see the machine */; readonly isTenant: boolean };

function Standing({ told: { status, counts, stepMs }, isTenant }: Given): VNode {
  const perSecond = (count = 0): string => (count / (stepMs / 1000)).toFixed(1);
  const { waysRound: way, journal, workers } = status;
  const wrong = [
    ...(status.problem === undefined ? [] : [status.problem]),
    ...(journal.problem === undefined ? [] : [`journal: ${journal.problem}`]),
    ...(workers.connected.length < workers.configured
      ? [`${workers.connected.length} of ${workers.configured} workers run`]
      : []),
    ...status.upstream
      .filter(({ up, of }) => up < of)
      .map(
        ({ server, up, of, reason }) =>
          `${server} is up for ${up} of ${of} workers${reason === undefined ? '' : `: ${reason}`}`,
      ),
    ...status.services
      .filter(({ up, of }) => up < of)
      .map(({ service, up, of }) => `${service} answers ${up} of ${of} workers`),
    ...(status.configErrors > 0 ? [`${status.configErrors} reloads were refused: "postern check" says why`] : []),
  ];
  return html`
    <section class=${`standing ${status.intercepting ? 'good' : 'bad'}`} role="status">
      <strong>${status.intercepting ? 'Intercepting' : 'NOT intercepting'}</strong>
      <span>${shown(status.name)}, for ${ago(status.uptimeMs)}</span>
    </section>
    ${wrong.map((text) => html`<${Wrong} text=${shown(text)} />`)}
    <dl class="facts">
      <${Fact} name="accepted /s">${perSecond(counts['accept'])}<//>
      <${Fact} name="deferred /s">${perSecond(counts['defer'])}<//>
      <${Fact} name="rejected /s">${perSecond(counts['reject'])}<//>
      <${Fact} name="locks">${status.locks}<//>
      ${isTenant ? null : html`<${Fact} name="sessions open">${status.sessionsOpen}<//><${Fact} name="journal">${bytes(journal.sizeBytes)}<//>`}
    </dl>
    <section>
      <h2>Networks</h2>
      <table><thead><tr><th>Network</th><th>Mode</th><th>Egress</th><th>When dead</th><th>Refused in the kernel</th></tr></thead>
      <tbody>${status.networks.map(
        (network) => html`<tr key=${network.name}>
          <td>${network.name}</td><td><span class=${`mode ${network.mode}`}>${network.mode}</span></td><td>${network.egress}</td><td>${network.fail}</td>
          <td class="number">${(status.kernel?.refused ?? []).filter((each) => each.network === network.name).reduce((all, { packets }) => all + packets, 0)}</td>
        </tr>`,
      )}</tbody></table>
    </section>
    ${
      isTenant
        ? null
        : html`<section>
      <h2>Servers</h2>
      <table><thead><tr><th>Server</th><th>Up for</th><th>Connections</th><th></th></tr></thead>
      <tbody>${status.upstream.map(
        (each) =>
          html`<tr key=${each.server}><td>${each.server}</td><td>${each.up} of ${each.of} workers</td><td class="number">${each.connections}</td><td>${shown(each.reason ?? '')}</td></tr>`,
      )}</tbody></table>
    </section>`
    }
    ${
      way.exemptNetworks.length + way.failOpen.length + way.missingInterfaces.length > 0
        ? html`<section><h2>Ways round</h2><ul>
          ${way.missingInterfaces.map((name) => html`<li>interface ${name} does not exist: nothing that comes in there is intercepted</li>`)}
          ${way.exemptNetworks.map(({ name }) => html`<li>network ${name} is exempt</li>`)}
          ${way.failOpen.map((name) => html`<li>network ${name} passes unseen while no worker answers</li>`)}
        </ul></section>`
        : null
    }
  `;
}

function Day({ rows }: { readonly rows: readonly HistoryRow[] }): VNode {
  const drawn = useMemo(() => {
    const by = new Map(rows.map((row) => [row.at, row]));
    const end = Date.now();
    const begin = end - DAY_MS - ((end - DAY_MS) % STEP_MS);
    const at = Array.from({ length: Math.floor((end - begin) / STEP_MS) + 1 }, (_, i) => begin + i * STEP_MS);
    const of = (key: 'accepted' | 'deferred' | 'rejected'): number[] => at.map((each) => by.get(each)?.[key] ?? 0);
    return {
      at,
      lines: [
        { label: 'accepted', colour: '--good', values: of('accepted') },
        { label: 'deferred', colour: '--warn', values: of('deferred') },
        { label: 'rejected', colour: '--bad', values: of('rejected') },
      ],
    };
  }, [rows]);
  const sum = (key: 'tlsIn' | 'tlsOut' | 'relayed' | 'accepted' | 'deferred' | 'rejected'): number =>
    rows.reduce((all, row) => all + row[key], 0);
  const all = sum('accepted') + sum('deferred') + sum('rejected');
  const share = (part: number, of: number): string => (of === 0 ? '–' : `${Math.round((100 * part) / of)} %`);
  return html`
    <${Chart} at=${drawn.at} lines=${drawn.lines} />
    <p class="dim">Attempts in five minutes. Over TLS: ${share(sum('tlsIn'), all)} came in, ${share(sum('tlsOut'), sum('relayed'))} went out.</p>
  `;
}

function Senders({ rows }: { readonly rows: readonly TopRow[] }): VNode {
  if (rows.length === 0) return html`<p class="dim">Nobody sent anything.</p>`;
  return html`<table><thead><tr><th>Sender</th><th>Attempts</th><th>Rejected</th><th>Spam</th></tr></thead>
    <tbody>${rows.map(
      ({ who, attempts, rejected, spam }) => html`<tr key=${who}>
        <td>${who.startsWith('@') ? shown(who) : html`<a href=${`#/senders/${encodeURIComponent(who)}`}>${shown(who)}</a>`}</td>
        <td class="number">${attempts}</td><td class="number">${rejected}</td><td class="number">${spam}</td>
      </tr>`,
    )}</tbody></table>`;
}

function LatestLocks({ locks }: { readonly locks: readonly Lock[] }): VNode {
  if (locks.length === 0) return html`<p class="dim">Nobody is locked.</p>`;
  const latest = [...locks].sort((a, b) => b.since - a.since).slice(0, 10);
  return html`<table><thead><tr><th>Who</th><th>Why</th><th>Since</th></tr></thead>
    <tbody>${latest.map(
      ({ subject, identity, reason, since }) =>
        html`<tr key=${`${subject} ${identity}`}><td>${shown(identity === undefined ? subject : `${identity} at ${subject}`)}</td><td>${shown(reason)}</td><td>${time(since)}</td></tr>`,
    )}</tbody></table>`;
}

/** A line for each prefix of ours, a column for each receiver: of what was offered, how much was taken. */
function SeenBy({ of: { rows, listings } }: { readonly of: Receivers }): VNode {
  const names = [...new Set(rows.map(({ receiver }) => receiver))];
  const prefixes = [...new Set(rows.map(({ prefix }) => prefix))];
  const cell = (prefix: string, name: string): VNode => {
    const row = rows.find((each) => each.prefix === prefix && each.receiver === name);
    if (!row) return html`<td class="number dim">–</td>`;
    const all = row.accepted + row.deferred + row.rejected;
    const share = Math.floor((100 * row.accepted) / all);
    const how = share >= 95 ? 'accept' : share >= 80 ? 'defer' : 'reject';
    return html`<td class="number" title=${`${row.accepted} taken, ${row.deferred} put off, ${row.rejected} refused`}><span class=${`verdict ${how}`}>${share} %</span> of ${all}</td>`;
  };
  return html`
    ${listings.map(({ prefix, list, upstream, reply, id, last }) => html`<p class="wrong" key=${`${prefix} ${list}`}>${shown(prefix)} is on a block list (${list}), says ${shown(upstream)}: <q>${shown(reply)}</q> <a href=${`#/message/${id}`}>${time(last)}</a></p>`)}
    ${
      rows.length === 0
        ? html`<p class="dim">Nothing was offered to anybody.</p>`
        : html`<div class="wide"><table class="receivers"><thead><tr><th>From</th>${names.map((name) => html`<th key=${name}>${name}</th>`)}</tr></thead>
          <tbody>${prefixes.map((prefix) => html`<tr key=${prefix}><td>${prefix}</td>${names.map((name) => cell(prefix, name))}</tr>`)}</tbody></table></div>`
    }
  `;
}
