/** Small pieces that several pages are made of. */
import { html } from 'htm/preact';
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from './api.ts';

export type Page = { readonly query: URLSearchParams; readonly rest: string };

export type Loaded<T> = {
  readonly value: T | undefined;
  readonly error: string | undefined;
  readonly again: () => void;
};

/** Asks when the page opens and when `key` changes; what was there stays while it asks again. */
export function useAsked<T>(key: string, question: () => Promise<T>): Loaded<T> {
  const [value, setValue] = useState<T | undefined>();
  const [error, setError] = useState<string | undefined>();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    question().then(
      (answer) => {
        if (!isCurrent) return;
        setValue(() => answer);
        setError(undefined);
      },
      (reason: unknown) => {
        if (isCurrent) setError(wordsOf(reason));
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [key, turn]);
  return { value, error, again: () => setTurn((old) => old + 1) };
}

export function wordsOf(reason: unknown): string {
  if (reason instanceof ApiError) return reason.message;
  return 'the gateway does not answer; is the keeper running?';
}

export function Wrong({ text }: { readonly text: string | undefined }): VNode | null {
  return text === undefined ? null : html`<p class="wrong" role="alert">${text}</p>`;
}

export function Verdict({ verdict }: { readonly verdict: string }): VNode {
  return html`<span class=${`verdict ${verdict}`}>${verdict}</span>`;
}

export function Fact({ name, children }: { readonly name: string; readonly children?: ComponentChildren }): VNode {
  return html`<div class="fact"><dt>${name}</dt><dd>${children}</dd></div>`;
}

export function ClassLink({ of }: { readonly of: string }): VNode {
  return html`<a class="class" href=${`/classes/${encodeURIComponent(of)}`} target="_blank" rel="noreferrer">${of}</a>`;
}
