/** The HTTP server that takes the next request in this process, to bring about what a server meets seldom. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server } from 'node:http';

const STARTED = 'http.server.request.start';

export function serverOfNext(): Promise<Server> {
  return new Promise((resolve) => {
    const note = (message: unknown): void => {
      unsubscribe(STARTED, note);
      resolve((message as { readonly server: Server }).server);
    };
    subscribe(STARTED, note);
  });
}
