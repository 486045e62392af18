/** Who may use the panel, and who looked at what. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import type { PersonTold } from '../../ledger/language.ts';
import type { AuditLine } from '../audit.ts';
import { ask } from './api.ts';
import { useAsked, Wrong } from './parts.ts';
import { shown, time } from './words.ts';

export function People(): VNode {
  const people = useAsked('people', () => ask<readonly PersonTold[]>('/api/people'));
  const audit = useAsked('audit', () => ask<readonly AuditLine[]>('/api/audit', { limit: 200 }));
  return html`
    <h1>People</h1>
    <${Wrong} text=${people.error} />
    <table><thead><tr><th>Name</th><th>Kind</th><th>Role</th><th>Tenant</th><th>Since</th><th>Until</th><th>From</th></tr></thead>
    <tbody>${(people.value ?? []).map((one) => html`<tr key=${one.name}><td>${one.name}</td><td>${one.kind}</td><td>${one.role}</td><td>${one.tenant ?? 'all'}</td><td>${time(one.since)}</td><td>${one.until ? time(one.until) : '–'}</td><td>${one.from?.join(' ') ?? 'everywhere'}</td></tr>`)}</tbody></table>
    <p class="dim">Added and removed by the command: <code>postern user</code>.</p>
    <h2>Who looked, and who changed what</h2>
    <${Wrong} text=${audit.error} />
    <div class="wide"><table><thead><tr><th>Time</th><th>Who</th><th>From</th><th>What</th><th>About</th></tr></thead>
    <tbody>${(audit.value ?? []).map((line) => html`<tr><td>${time(line.at)}</td><td>${shown(line.who)}</td><td>${shown(line.from)}</td><td>${shown(line.what)}</td><td class="text">${shown(line.about)}</td></tr>`)}</tbody></table></div>
  `;
}
