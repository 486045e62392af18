/**
 * From a request to who asks. People have a cookie, which no other site's page can send (SameSite=Strict), and bring a
 * word for each change that such a page could not know; programs have a token.
 */
import type { IncomingMessage } from 'node:http';
import { sourceOf } from '../kit/address.ts';
import type { PersonTold, Role } from '../ledger/language.ts';
import { mayDo, type People } from './people.ts';
import { Refusal } from './refusal.ts';
import type { Failures, LogIns, Session, Sessions } from './sessions.ts';

export const COOKIE = 'postern';
export const CSRF_HEADER = 'x-postern-csrf';
/** of one address, in a quarter of an hour */
const MOST_WRONG_TOKENS = 50;

/** Who there is, who is logged in, and who failed too often. */
export type Gate = {
  readonly people: People;
  readonly sessions: Sessions;
  readonly failures: Failures;
  readonly logIns: LogIns;
};

export type Asker = {
  readonly name: string;
  readonly role: Role;
  /** whose hosts alone are shown; undefined: all */
  readonly tenant: string | undefined;
  readonly session: Session | undefined;
};

/** Throws a Refusal unless whoever sends this may do what asks for `needed`. */
export function askerOf(request: IncomingMessage, from: string, needed: Role, gate: Gate): Asker {
  const { people, failures } = gate;
  const { authorization } = request.headers;
  const asker = authorization === undefined ? bySession() : byToken(authorization);
  if (!mayDo(asker.role, needed)) throw new Refusal(403, `this takes the role "${needed}"; yours is "${asker.role}"`);
  return asker;

  function byToken(header: string): Asker {
    const [, token] = /^Bearer (\S{1,200})$/i.exec(header) ?? [];
    const person = token === undefined ? undefined : people.byToken(token, from);
    if (!person) {
      // Another program of the same address may have a right one, which is never asked to wait.
      const source = `token ${sourceOf(from)}`;
      refuseIfTooMany(failures.waitMs(source, MOST_WRONG_TOKENS));
      failures.failed(source);
      throw new Refusal(401, 'this token is not known, has run out, or may not be used from this address');
    }
    return { name: person.name, role: person.role, tenant: person.tenant, session: undefined };
  }

  function bySession(): Asker {
    const found = loggedIn(request, gate);
    if (!found) throw new Refusal(401, 'log in first');
    const { session, person } = found;
    if (request.method !== 'GET' && request.headers[CSRF_HEADER] !== session.csrf)
      throw new Refusal(403, `a change needs the header ${CSRF_HEADER}, as GET /api/me tells it`);
    return { name: person.name, role: person.role, tenant: person.tenant, session };
  }
}

/** Whoever is removed and added again, as with another password, is somebody else: an older session is not theirs. */
export function loggedIn(
  request: IncomingMessage,
  { people, sessions }: Gate,
): { readonly session: Session; readonly person: PersonTold } | undefined {
  const session = sessions.find(sessionKey(request) ?? '');
  const person = session && people.find(session.name);
  return person?.kind === 'user' && person.since === session?.since ? { session, person } : undefined;
}

export function refuseIfTooMany(waitMs: number): void {
  if (waitMs > 0) throw new Refusal(429, 'too many failures; wait', { retryAfterS: Math.ceil(waitMs / 1000) });
}

/** What a page of another site sends has its origin; programs send none. */
export function refuseForeign(request: IncomingMessage): void {
  const { origin, host } = request.headers;
  if (origin !== undefined && origin.replace(/^https?:\/\//, '') !== host)
    throw new Refusal(403, `the origin ${JSON.stringify(origin.slice(0, 100))} is another site's`);
}

export function sessionKey(request: IncomingMessage): string | undefined {
  return new RegExp(`(?:^|; )${COOKIE}=([\\w-]{43})(?:;|$)`).exec(request.headers.cookie ?? '')?.[1];
}
