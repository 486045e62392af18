/**
 * The HTTP side of the keeper: the API, the page, what a class means. Here is who may ask what; mail does not depend on
 * any of it.
 */
import type { IncomingMessage } from 'node:http';
import { sourceOf } from '../kit/address.ts';
import { isClass } from '../policy/classes.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Role } from '../ledger/language.ts';
import type { Attempt } from '../record/events.ts';
import { askerOf, COOKIE, type Gate, loggedIn, refuseForeign, refuseIfTooMany, sessionKey } from './access.ts';
import { type Asset, type Assets, loadAssets } from './assets.ts';
import type { Audit, AuditLine } from './audit.ts';
import { classPage, classesPage, pageOf } from './class-page.ts';
import { isComplete, lockedLine, unlockedPage } from './unlock-page.ts';
import { type Answer, type Asked, Http, type Row } from './http.ts';
import { openApi } from './openapi.ts';
import { MAX_PASSWORD, type People } from './people.ts';
import { Refusal } from './refusal.ts';
import { type Rooms, type Route, routes } from './routes.ts';
import { type Schemas, valuesOf } from './schema.ts';
import { Failures, LogIns, type Session, Sessions } from './sessions.ts';
import { Stream } from './stream.ts';

export type PanelOptions = {
  readonly host: string;
  readonly port: number;
  readonly version: string;
  readonly rooms: Rooms;
  /** the same as somebody may see it who is bound to a tenant */
  readonly roomsOf: (tenant: string) => Rooms;
  /** whether an address is one of panel.proxies */
  readonly isProxy: (address: string) => boolean;
  readonly people: People;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Log;
};

export type Panel = {
  /** the port that is listened on, while it is: for tests that ask for port 0 */
  readonly port: () => number | undefined;
  /** what has just been recorded, as it is kept */
  readonly seen: (attempts: readonly Attempt[]) => void;
  readonly close: () => Promise<void>;
};

/** of one line, in a quarter of an hour: each reads the journal */
const MOST_LOOKS = 40;
/** The one page with a form that a browser sends by itself. */
const FORM_POLICY = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  // With "no-referrer" a browser would send `Origin: null` with the form (Fetch, "append a request Origin header").
  'referrer-policy': 'same-origin',
};
const HTML = { 'content-type': 'text/html; charset=utf-8' };

/** `needs`: the role that it takes; undefined: it is for everybody, whoever that is. */
export type PanelRow = Row & { readonly needs: Role | undefined };

export async function startPanel(options: PanelOptions): Promise<Panel> {
  const { host, port, log, clock, people } = options;
  const assets = await loadAssets();
  const stream = new Stream((tenant) => roomsFor(tenant, options).ask({ of: 'status' }), log);
  const failures = new Failures(clock);
  const gate = { people, failures, sessions: new Sessions(clock), logIns: new LogIns(failures) };
  const http = new Http({
    ...{ host, port, log, isProxy: options.isProxy },
    rows: rowsOf(assets, stream, gate, options),
    admit({ path, needs }, message, from) {
      if (path.startsWith('/api/')) refuseForeign(message);
      if (needs !== undefined) askerOf(message, from, needs, gate);
    },
    headers: {
      'content-security-policy': assets.policy,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    },
  });
  return {
    port: () => http.port,
    seen: (attempts) => stream.seen(attempts),
    close() {
      stream.close();
      return http.close();
    },
  };
}

/** All that is answered. */
export function rowsOf(assets: Assets, stream: Stream, gate: Gate, options: PanelOptions): readonly PanelRow[] {
  return [
    { method: 'GET', path: '/', needs: undefined, answer: () => ({ headers: HTML, body: assets.page }) },
    ...[...assets.files].map(
      ([path, asset]): PanelRow => ({
        ...{ method: 'GET', path, needs: undefined },
        answer: (asked) => assetFor(asked, asset),
      }),
    ),
    ...classRows(gate, options),
    ...logInRows(gate, options.audit),
    ...routes.map((route) => rowOf(route, gate, options)),
    {
      ...{ method: 'GET', path: '/api/openapi.json', needs: 'read' },
      answer: () => ({ body: openApi(options.version) }),
    },
    {
      ...{ method: 'GET', path: '/api/events', needs: 'read' },
      answer: ({ message, from }) => stream.answer(() => askerOf(message, from, 'read', gate).tenant),
    },
  ];
}

/** One route of the API: who asks, is it written down, then the answer. */
function rowOf(route: Route, gate: Gate, options: PanelOptions): PanelRow {
  const { method, path, role, params = {}, query = {}, body, maxBodyBytes } = route;
  return {
    ...{ method, path, needs: role, ...(maxBodyBytes !== undefined && { maxBodyBytes }) },
    async answer(asked) {
      const asker = askerOf(asked.message, asked.from, role, gate);
      const given = {
        params: valuesOf(asked.params, params) as Readonly<Record<string, string>>,
        query: valuesOf(asked.query, query),
        body: valuesOf(asked.body, body?.properties ?? {}, body?.required),
        asker,
      };
      if (route.audit)
        noted(options.audit, {
          who: asker.name,
          from: asked.from,
          what: `${method} ${path}`,
          about: route.audit(given),
        });
      return { body: (await route.run(roomsFor(asker.tenant, options), given)) as object };
    },
  };
}

function roomsFor(tenant: string | undefined, { rooms, roomsOf }: PanelOptions): Rooms {
  return tenant === undefined ? rooms : roomsOf(tenant);
}

function noted(audit: Audit, line: Omit<AuditLine, 'at'>): void {
  try {
    audit.write(line);
  } catch (error) {
    throw new Refusal(503, `it cannot be written down who looks (${(error as Error).message}), so nothing is shown`);
  }
}

const logInBody: Schemas = {
  name: { type: 'string', maxLength: 64, description: 'of the user' },
  password: { type: 'string', maxLength: MAX_PASSWORD, description: 'of the user' },
};

function logInRows(gate: Gate, audit: Audit): readonly PanelRow[] {
  const { people, sessions, logIns } = gate;
  return [
    {
      method: 'POST',
      path: '/api/login',
      needs: undefined,
      async answer({ message, from, body }) {
        const { name = '', password = '' } = valuesOf(body, logInBody, ['name', 'password']) as Record<string, string>;
        const source = sourceOf(from);
        refuseIfTooMany(logIns.waitMs(name, source));
        const person = await people.byPassword(name, password);
        if (person === 'busy') throw new Refusal(429, 'others log in just now; try again', { retryAfterS: 1 });
        if (!person) {
          logIns.failed(name, source);
          throw new Refusal(401, 'name and password do not belong together');
        }
        noted(audit, { who: person.name, from, what: 'POST /api/login', about: '' });
        logIns.passed(name, source);
        const { key, session } = sessions.begin(person);
        return { headers: cookie(message, key), body: meOf(person, session) };
      },
    },
    {
      method: 'GET',
      path: '/api/me',
      needs: undefined,
      // Nobody is an answer, too: the page asks before anybody has logged in.
      answer({ message, from }) {
        if (message.headers.authorization === undefined && !loggedIn(message, gate)) return { body: {} };
        const asker = askerOf(message, from, 'read', gate);
        return { body: meOf(asker, asker.session) };
      },
    },
    {
      method: 'POST',
      path: '/api/logout',
      needs: 'read',
      answer({ message }) {
        sessions.end(sessionKey(message) ?? '');
        return { headers: cookie(message, undefined), body: {} };
      },
    },
  ];
}

type Named = { readonly name: string; readonly role: Role; readonly tenant?: string | undefined };

function meOf({ name, role, tenant }: Named, session: Session | undefined): object {
  return { name, role, tenant, csrf: session?.csrf };
}

/** Behind a server that adds TLS the cookie is for TLS alone. */
function cookie({ headers }: IncomingMessage, key: string | undefined): Readonly<Record<string, string>> {
  const secure = headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
  const life = key === undefined ? '; Max-Age=0' : '';
  return { 'set-cookie': `${COOKIE}=${key ?? ''}; Path=/; HttpOnly; SameSite=Strict${secure}${life}` };
}

function assetFor({ message }: Asked, { type, body, tag }: Asset): Answer {
  const headers = { etag: tag, 'cache-control': 'no-cache' };
  if (message.headers['if-none-match'] === tag) return { status: 304, headers, body: Buffer.alloc(0) };
  return { headers: { ...headers, 'content-type': type }, body };
}

/**
 * Where the URL in a refusal leads: for everybody, without anything that the journal knows; and for the line that is locked
 * and asks, why, and how to end it.
 */
function classRows({ failures }: Gate, { rooms, audit }: PanelOptions): readonly PanelRow[] {
  const refuseIfOften = (from: string): void => {
    const key = `line ${sourceOf(from)}`;
    refuseIfTooMany(failures.waitMs(key, MOST_LOOKS));
    failures.failed(key);
  };
  const html = (page: string | undefined): Answer => ({
    status: page === undefined ? 404 : 200,
    headers: HTML,
    body: Buffer.from(page ?? classesPage()),
  });
  const isLock = (name: string): boolean => name.startsWith('locked.');
  return [
    { method: 'GET', path: '/classes/', needs: undefined, answer: () => html(classesPage()) },
    {
      method: 'GET',
      path: '/classes/:class',
      needs: undefined,
      async answer({ params, from }) {
        const { class: name = '' } = params;
        if (!isLock(name) || !isClass(name)) return html(classPage(name));
        refuseIfOften(from);
        const locks = await rooms.line.look(from);
        if (!locks) return html(classPage(name));
        noted(audit, { who: 'the line', from, what: 'GET /classes/:class', about: name });
        return { ...html(classPage(name, lockedLine(from, locks, name))), headers: { ...HTML, ...FORM_POLICY } };
      },
    },
    {
      ...{ method: 'POST', path: '/classes/:class', needs: undefined, isForm: true },
      async answer({ message, params, from, body }) {
        refuseForeign(message);
        refuseIfOften(from);
        const { class: name = '' } = params;
        const form = (body ?? {}) as Readonly<Record<string, string>>;
        if (!isLock(name)) throw new Refusal(404, 'there is nothing here');
        if (!isComplete(form)) throw new Refusal(400, 'all of the list is to be done first');
        // Nobody who is not locked fills the record of looks.
        if (!(await rooms.line.look(from))) throw new Refusal(403, 'this line is not locked; open the page again');
        noted(audit, { who: 'the line', from, what: 'POST /classes/:class', about: name });
        await rooms.line.unlock(from, form['word'] ?? '');
        return html(pageOf('Unlocked', unlockedPage(from)));
      },
    },
  ];
}
