/** What is locked, and locking: by whoever may. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { Lock, LockEvent } from '../../ledger/language.ts';
import { ask, change, type Me } from './api.ts';
import { useAsked, wordsOf, Wrong } from './parts.ts';
import { shown, time } from './words.ts';

export function Locks({ me }: { readonly me: Me }): VNode {
  const locks = useAsked('locks', () => ask<readonly Lock[]>('/api/locks'));
  const history = useAsked('history', () => ask<readonly LockEvent[]>('/api/locks/history', { limit: 50 }));
  const again = (): void => {
    locks.again();
    history.again();
  };
  return html`
    <h1>Locks</h1>
    ${me.role === 'read' ? null : html`<${LockForm} done=${again} />`}
    <${Wrong} text=${locks.error} />
    <div class="wide"><table><thead><tr><th>Who</th><th>How</th><th>Why</th><th>By</th><th>Since</th><th>Until</th><th></th></tr></thead>
    <tbody>${(locks.value ?? []).map(
      (lock) =>
        html`<tr key=${nameOf(lock)}><td>${nameOf(lock)}</td><td>${lock.how}</td><td class="text">${shown(lock.reason)}</td><td>${shown(lock.who)}</td><td>${time(lock.since)}</td><td>${lock.until ? time(lock.until) : 'unlocked by hand'}</td><td>${me.role === 'read' ? null : html`<${Unlock} lock=${lock} done=${again} />`}</td></tr>`,
    )}</tbody></table></div>
    ${locks.value?.length === 0 ? html`<p>Nobody is locked.</p>` : null}
    <h2>What happened</h2>
    <${Wrong} text=${history.error} />
    <div class="wide"><table><tbody>${(history.value ?? []).map(
      ({ at, what, who, lock }) =>
        html`<tr><td>${time(at)}</td><td>${what}</td><td>${nameOf(lock)}</td><td class="text">${shown(lock.reason)}</td><td>${shown(who)}</td></tr>`,
    )}</tbody></table></div>
  `;
}

export function LockForm({
  subject: given = '',
  done,
}: {
  readonly subject?: string;
  readonly done: () => void;
}): VNode {
  const [subject, setSubject] = useState(given);
  const [reason, setReason] = useState('');
  const [how, setHow] = useState('reject');
  const [length, setLength] = useState('');
  const [error, setError] = useState<string | undefined>();
  const lock = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      await change('POST', '/api/locks', {
        subject: subject.trim(),
        reason,
        how,
        ...(length.trim() !== '' && { for: length.trim() }),
      });
      setError(undefined);
      setReason('');
      if (given === '') setSubject('');
      done();
    } catch (refused) {
      setError(wordsOf(refused));
    }
  };
  const input = (set: (value: string) => void) => (event: Event) => set((event.target as HTMLInputElement).value);
  return html`<form class="lock" onSubmit=${lock}>
    ${given === '' ? html`<label>Lock <input name="subject" required spellcheck=${false} placeholder="address, prefix, @subscriber" value=${subject} onInput=${input(setSubject)} /></label>` : null}
    <label>${given === '' ? 'because' : 'Lock it because'} <input name="reason" required maxlength="200" placeholder="spam run, ticket 4711" value=${reason} onInput=${input(setReason)} /></label>
    <label>how <select name="how" value=${how} onChange=${input(setHow)}><option value="reject">reject: 550</option><option value="defer">defer: 450</option><option value="kernel">kernel: no connection</option></select></label>
    <label>for <input name="for" size="6" placeholder="2h" value=${length} onInput=${input(setLength)} /></label>
    <button>Lock</button>
    <${Wrong} text=${error} />
  </form>`;
}

export function Unlock({ lock, done }: { readonly lock: Lock; readonly done: () => void }): VNode {
  const [error, setError] = useState<string | undefined>();
  const unlock = async (): Promise<void> => {
    const query = new URLSearchParams({
      subject: lock.subject,
      ...(lock.identity !== undefined && { identity: lock.identity }),
    });
    try {
      await change('DELETE', `/api/locks?${query}`);
      done();
    } catch (refused) {
      setError(wordsOf(refused));
    }
  };
  return html`<button onClick=${unlock}>Unlock</button><${Wrong} text=${error} />`;
}

function nameOf({ subject, identity }: Lock): string {
  return shown(identity === undefined ? subject : `${identity} at ${subject}`);
}
