/** What a host hears over an in-memory connection. */
import type { Duplex } from 'node:stream';

export type Heard = {
  readonly text: () => string;
  /** Resolves when the text so far matches; rejects when the connection ends before. */
  readonly until: (pattern: RegExp) => Promise<void>;
  /** Everything, once the gateway has ended the connection. */
  readonly end: () => Promise<string>;
};

export function hear(host: Duplex): Heard {
  let text = '';
  let hasEnded = false;
  const watchers = new Set<() => void>();
  const look = (): void => {
    for (const watcher of watchers) watcher();
  };
  const over = (): void => {
    hasEnded = true;
    look();
  };
  host.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    look();
  });
  host.on('end', over).on('close', over).on('error', over);
  const wait = (isSo: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const watcher = (): void => {
        if (!isSo() && !hasEnded) return;
        watchers.delete(watcher);
        if (isSo()) resolve();
        else reject(new Error(`the connection ended after ${JSON.stringify(text)}`));
      };
      watchers.add(watcher);
      watcher();
    });
  return {
    text: () => text,
    until: (pattern) => wait(() => pattern.test(text)),
    async end() {
      await wait(() => hasEnded);
      return text;
    },
  };
}
