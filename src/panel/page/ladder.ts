/** The ladder of modes: where somebody stands, and a step by hand. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { Step } from '../../ledger/language.ts';
import type { Mode } from '../../policy/ladder.ts';
import { change, type Me } from './api.ts';
import { wordsOf, Wrong } from './parts.ts';
import { shown, time } from './words.ts';

const MODES: readonly Mode[] = ['exempt', 'observe', 'enforce', 'smarthost-only', 'block'];

type Given = {
  readonly subject: string;
  readonly mode: Mode;
  readonly step?: Step | undefined;
  readonly me: Me;
  readonly done: () => void;
};

export function Ladder({ subject, mode, step, me, done }: Given): VNode {
  const [error, setError] = useState<string | undefined>();
  const act = async (what: () => Promise<unknown>): Promise<void> => {
    try {
      await what();
      setError(undefined);
      done();
    } catch (refused) {
      setError(wordsOf(refused));
    }
  };
  const move = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target as HTMLFormElement)) as Record<string, string>;
    const length = given['for']?.trim() ?? '';
    const body = { subject, mode: given['mode'], reason: given['reason'], ...(length !== '' && { for: length }) };
    void act(() => change('POST', '/api/steps', body));
  };
  const back = (): void =>
    void act(() => change('DELETE', `/api/steps?${new URLSearchParams({ subject: step?.subject ?? subject })}`));
  return html`
    ${step ? html`<p>In mode ${mode} since ${time(step.since)}${step.until ? `, until ${time(step.until)}` : ''}, by ${shown(step.who)}: ${shown(step.reason)} ${me.role === 'read' ? null : html`<button onClick=${back}>Back</button>`}</p>` : null}
    ${
      me.role === 'read'
        ? null
        : html`<form class="step" onSubmit=${move}>
          <label>Mode <select name="mode">${MODES.map((each) => html`<option selected=${each === mode}>${each}</option>`)}</select></label>
          <label>because <input name="reason" required maxlength="200" /></label>
          <label>for <input name="for" size="6" placeholder="2h" /></label>
          <button>Move</button>
        </form>`
    }
    <${Wrong} text=${error} />
  `;
}
