/** A keeper with its panel in this process, people in it, and requests as browsers and programs send them. */
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Place, stageKeeper, type Stage } from '../kit/keeper.ts';
import { until } from '../kit/wait.ts';
import type { Role } from '../../src/ledger/language.ts';
import type { Clock } from '../../src/kit/clock.ts';

export const PASSWORD = 'a long enough one';

export type Reply = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: () => Record<string, unknown>;
};

export type Panel = Stage & {
  readonly url: string;
  readonly ask: Stage['ask'];
  readonly send: (method: string, path: string, headers?: Record<string, string>, body?: unknown) => Promise<Reply>;
  /** the same without the body, which for a stream has no end */
  readonly statusOf: (...request: Parameters<Panel['send']>) => Promise<number>;
  readonly addUser: (name: string, role: Role) => Promise<void>;
  readonly addToken: (name: string, role: Role, from?: readonly string[], until?: number) => Promise<string>;
  /** the headers that a browser of this user sends */
  readonly logIn: (name: string) => Promise<Record<string, string>>;
};

export async function startPanel(t: Pick<TestContext, 'after'>, clock?: Clock, place?: Place): Promise<Panel> {
  const stage = await stageKeeper(clock, place);
  t.after(() => stage.close());
  await until(() => stage.keeper.panelPort() !== undefined, 'the panel listens');
  const isOpen = (): Promise<boolean> =>
    stage.ask({ of: 'sources', question: { since: 0, limit: 1 } }).then(
      () => true,
      () => false,
    );
  while (!(await isOpen())) await pause(10);
  const url = `http://127.0.0.1:${stage.keeper.panelPort()}`;
  const request = (...[method, path, headers = {}, body]: Parameters<Panel['send']>): Promise<Response> =>
    fetch(`${url}${path}`, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const send: Panel['send'] = async (...asked) => {
    const response = await request(...asked);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
  };
  return {
    ...stage,
    url,
    send,
    async statusOf(...asked) {
      const response = await request(...asked);
      await response.body?.cancel();
      return response.status;
    },
    async addUser(name, role) {
      await stage.ask({ of: 'user-add', name, role, password: PASSWORD, who: 'test' });
    },
    async addToken(name, role, from, holds) {
      const answer = await stage.ask({ of: 'token-add', name, role, until: holds, from, who: 'test' });
      return (answer as { readonly token: string }).token;
    },
    async logIn(name) {
      const { headers, json } = await send('POST', '/api/login', {}, { name, password: PASSWORD });
      const cookie = (headers.get('set-cookie') ?? '').split(';')[0] ?? '';
      return { cookie, 'x-postern-csrf': json()['csrf'] as string };
    },
  };
}

export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
