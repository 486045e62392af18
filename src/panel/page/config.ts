/** The configuration: what is in effect and where it stands; a changed file, looked at before anything happens, then on trial. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Checked, ConfigShown } from '../config-room.ts';
import { ask, change } from './api.ts';
import { useAsked, wordsOf, Wrong } from './parts.ts';
import { ago, shown, time } from './words.ts';

type Answer = { readonly ok: boolean; readonly text: string };
type Row = {
  readonly class: string;
  readonly subscriber: string;
  readonly refusedBefore: number;
  readonly observedBefore: number;
  readonly refusedAfter: number;
  readonly observedAfter: number;
};

const AGAIN_MS = 2_000;

export function Config(): VNode {
  const config = useAsked('config', () => ask<ConfigShown>('/api/config'));
  useEffect(() => {
    const timer = setInterval(() => config.again(), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  const { value } = config;
  return html`
    <h1>Configuration</h1>
    <${Wrong} text=${config.error} />
    ${value?.trialUntil === undefined ? null : html`<${Trial} until=${value.trialUntil} done=${config.again} />`}
    ${value ? html`<${Change} key=${value.file} config=${value} done=${config.again} />` : null}
    ${value ? html`<section><h2>In effect</h2><pre class="effective">${shown(value.effective, '\n')}</pre></section>` : null}
  `;
}

function Trial({ until, done }: { readonly until: number; readonly done: () => void }): VNode {
  const [error, setError] = useState<string | undefined>();
  const decide = async (what: 'confirm' | 'back'): Promise<void> => {
    try {
      const { ok, text } = await change<Answer>('POST', `/api/config/${what}`);
      setError(ok ? undefined : text);
    } catch (refused) {
      setError(wordsOf(refused));
    }
    done();
  };
  return html`<section class="standing trial" role="status">
    <span>On trial: the configuration before comes back at ${time(until)}, in ${ago(until - Date.now())}, unless this one is kept.</span>
    <button onClick=${() => void decide('confirm')}>Keep</button>
    <button onClick=${() => void decide('back')}>Back now</button>
    <${Wrong} text=${error} />
  </section>`;
}

function Change({ config, done }: { readonly config: ConfigShown; readonly done: () => void }): VNode {
  const [text, setText] = useState<string | undefined>();
  const [length, setLength] = useState('5m');
  const [checked, setChecked] = useState<Checked | undefined>();
  const [said, setSaid] = useState<Answer | undefined>();
  const [isBusy, setBusy] = useState(false);
  const now = text ?? config.text;
  const act = async (what: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setSaid(undefined);
    try {
      await what();
    } catch (refused) {
      setSaid({ ok: false, text: wordsOf(refused) });
    }
    setBusy(false);
  };
  const check = (): void =>
    void act(async () => setChecked(await change<Checked>('POST', '/api/config/check', { text: now })));
  const apply = (): void =>
    void act(async () => {
      setSaid(await change<Answer>('POST', '/api/config/apply', { text: now, for: length.trim() }));
      setText(undefined);
      setChecked(undefined);
      done();
    });
  return html`<section>
    <h2>${config.file}</h2>
    <textarea class="file" aria-label="the configuration file" spellcheck=${false} rows="24" value=${now}
      onInput=${(event: InputEvent) => {
        setText((event.target as HTMLTextAreaElement).value);
        setChecked(undefined);
      }}></textarea>
    <form onSubmit=${(event: Event) => {
      event.preventDefault();
      apply();
    }}>
      <button type="button" disabled=${isBusy} onClick=${check}>Check</button>
      ${
        config.mayApply
          ? html`<label>on trial for <input name="for" size="5" value=${length} onInput=${(event: InputEvent) => setLength((event.target as HTMLInputElement).value)} /></label>
            <button disabled=${isBusy || checked?.ok !== true}>Apply</button>`
          : html`<span class="dim">It can be applied here once <code>panel.apply</code> is set; until then: <code>postern apply</code>.</span>`
      }
      ${isBusy ? html`<span class="dim" role="status">…</span>` : null}
    </form>
    ${said ? (said.ok ? html`<p role="status">${shown(said.text)}</p>` : html`<${Wrong} text=${shown(said.text)} />`) : null}
    ${checked ? html`<${Outcome} of=${checked} />` : null}
  </section>`;
}

function Outcome({ of }: { readonly of: Checked }): VNode {
  if (!of.ok)
    return html`<div class="wide" role="alert"><table class="errors"><thead><tr><th>Line</th><th>Setting</th><th>Expected</th></tr></thead>
      <tbody>${of.errors.map(({ line, key, expected }) => html`<tr><td class="number">${line || ''}</td><td>${shown(key)}</td><td class="text">${shown(expected)}</td></tr>`)}</tbody></table></div>`;
  return html`
    <p role="status">It is right.</p>
    <h3>Settings</h3><${Lines} of=${of.settings} />
    <h3>Kernel rules</h3><${Lines} of=${of.rules} />
    <h3>The last day under it</h3>
    ${'problem' in of.predicted ? html`<${Wrong} text=${shown(of.predicted.problem)} />` : html`<${Predicted} sums=${of.predicted.sums as { readonly attempts: number }} rows=${of.predicted.rows as readonly Row[]} />`}
  `;
}

function Lines({ of }: { readonly of: readonly string[] }): VNode {
  if (of.length === 0) return html`<p class="dim">Nothing changes.</p>`;
  return html`<pre class="lines">${of.map((line) => html`<span class=${line.startsWith('+ ') ? 'come' : line.startsWith('- ') ? 'gone' : 'dim'}>${shown(line)}${'\n'}</span>`)}</pre>`;
}

type PredictedGiven = { readonly sums: { readonly attempts: number }; readonly rows: readonly Row[] };

function Predicted({ sums, rows }: PredictedGiven): VNode {
  const others = rows.filter(
    (row) => row.refusedBefore !== row.refusedAfter || row.observedBefore !== row.observedAfter,
  );
  if (others.length === 0)
    return html`<p class="dim">None of ${sums.attempts} attempts would have ended otherwise.</p>`;
  return html`<p class="dim">Of ${sums.attempts} attempts:</p>
    <div class="wide"><table class="predicted"><thead><tr><th>Class</th><th>Who</th><th>Refused</th><th>then</th><th>Observed</th><th>then</th></tr></thead>
    <tbody>${others.map(
      (row) =>
        html`<tr><td>${shown(row.class)}</td><td>${shown(row.subscriber)}</td><td class="number">${row.refusedBefore}</td><td class="number">${row.refusedAfter}</td><td class="number">${row.observedBefore}</td><td class="number">${row.observedAfter}</td></tr>`,
    )}</tbody></table></div>`;
}
