/** Questions to the gateway's API. */
export type Me = {
  readonly name: string;
  readonly role: 'read' | 'operate' | 'admin';
  /** whose hosts alone are shown */
  readonly tenant?: string;
  readonly csrf: string;
};

/** What the API refused, in its own words; `field` names what was wrong in the question. */
export class ApiError extends Error {
  readonly status: number;
  readonly field: string | undefined;

  constructor(status: number, message: string, field?: string) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

let csrf = '';
let onLogOut = (): void => {};

export function whenLoggedOut(run: () => void): void {
  onLogOut = run;
}

export async function ask<T>(
  path: string,
  query: Readonly<Record<string, string | number | undefined>> = {},
): Promise<T> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return send<T>('GET', text === '' ? path : `${path}?${text}`);
}

export async function change<T>(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> {
  return send<T>(method, path, body);
}

export async function logIn(name: string, password: string): Promise<Me> {
  const me = await send<Me>('POST', '/api/login', { name, password });
  csrf = me.csrf;
  return me;
}

/** Undefined when nobody is logged in. */
export async function whoAmI(): Promise<Me | undefined> {
  const me = await send<Partial<Me>>('GET', '/api/me');
  if (me.name === undefined) return undefined;
  csrf = me.csrf ?? '';
  return me as Me;
}

async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(path, {
    method,
    headers: { 'x-postern-csrf': csrf, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as T & { readonly error?: string; readonly field?: string };
  if (response.ok) return answer;
  if (response.status === 401 && path !== '/api/login') onLogOut();
  throw new ApiError(response.status, answer.error ?? response.statusText, answer.field);
}
