/** Every question that the API answers: one table for the routes, for who may ask, and for the OpenAPI document. */
import { parseDurationMs } from '../config/value/quantity.ts';
import { canonical, parsePrefix } from '../kit/address.ts';
import type { Question, Role } from '../ledger/language.ts';
import { MAX_WISH_TEXT } from '../kit/wish.ts';
import { LockError, lockSubject } from '../ledger/locks.ts';
import { classes, isClass } from '../policy/classes.ts';
import { LADDER, type Mode } from '../policy/ladder.ts';
import type { LogFilter } from '../record/query.ts';
import { type HistoryQuestion, type Listing, MAX_LOG_ROWS, type ReceiversQuestion, TOP_BY } from '../record/query.ts';
import type { Asker } from './access.ts';
import type { AuditLine } from './audit.ts';
import type { ConfigRoom } from './config-room.ts';
import type { LineRoom } from './line-room.ts';
import { Refusal } from './refusal.ts';
import type { Schema, Schemas, Values } from './schema.ts';

export type Given = {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Values;
  readonly body: Values;
  readonly asker: Asker;
};

/** What answers, besides the keeper's own questions. */
export type Rooms = {
  readonly ask: (question: Question) => Promise<unknown>;
  readonly history: (question: HistoryQuestion) => Promise<unknown>;
  readonly receivers: (question: ReceiversQuestion) => Promise<unknown>;
  readonly listings: () => readonly Listing[];
  /** who sends from this address, with its settings and what was counted; undefined when it is in no network */
  readonly sender: (address: string) => Promise<object | undefined>;
  readonly config: ConfigRoom;
  readonly line: LineRoom;
  readonly audited: (limit: number) => readonly AuditLine[];
  readonly nowMs: () => number;
};

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly role: Role;
  readonly summary: string;
  readonly params?: Schemas;
  readonly query?: Schemas;
  readonly body?: { readonly required: readonly string[]; readonly properties: Schemas };
  /** what may be sent at most, where that is more than usual */
  readonly maxBodyBytes?: number;
  /** written down before it is answered: a look at messages, or a change; what it is about */
  readonly audit?: (given: Given) => string;
  readonly run: (rooms: Rooms, given: Given) => Promise<unknown>;
};

const DAY_MS = 24 * 3_600_000;
/** how far back sums are made: each reads every row since then */
const MAX_DAYS = 35;
const MAX_STEPS = 2000;

const word = (description: string, maxLength = 300): Schema => ({
  type: 'string',
  minLength: 1,
  maxLength,
  description,
});
const time = (description: string): Schema => ({ type: 'integer', minimum: 0, description });
const limit = (most: number): Schema => ({
  type: 'integer',
  minimum: 1,
  maximum: most,
  default: 100,
  description: 'at most so many',
});

const logQuery = {
  since: time('not before, in milliseconds since 1970'),
  until: time('before, in milliseconds since 1970'),
  source: word('an address or a prefix'),
  subscriber: word('a configured one, by its name'),
  tenant: word('to whom the hosts belonged at that time', 64),
  identity: word('whole'),
  sender: word('a whole address; <> is the null sender', 1000),
  recipient: word('a whole address', 1000),
  class: word('main.sub, or main for all of its classes', 64),
  id: word('of a message or a session', 64),
  messageId: word('its Message-ID, whole, with its brackets', 1000),
  limit: limit(MAX_LOG_ROWS),
} as const;

const lockBody = {
  subject: word('an address, a prefix, @SUBSCRIBER or tenant:NAME'),
  identity: word('only this identity behind it'),
  reason: word('why; never told to the sender', 200),
  how: {
    type: 'string',
    maxLength: 10,
    enum: ['reject', 'defer', 'kernel'],
    default: 'reject',
    description: 'how it is carried out',
  },
  for: word('how long, such as 30m, 2h or 7d; without it until it is unlocked', 20),
} as const;

const stepBody = {
  subject: word('an address, which stands for its subscriber; @SUBSCRIBER; network:NAME'),
  mode: { type: 'string', maxLength: 20, enum: LADDER, description: 'the mode' },
  reason: word('why', 200),
  for: lockBody.for,
} as const;

const MAX_CONFIG_BYTES = 2 * MAX_WISH_TEXT;
const configText: Schema = { type: 'string', maxLength: MAX_WISH_TEXT, description: 'the whole file' };

export const routes: readonly Route[] = [
  {
    method: 'GET',
    path: '/api/status',
    role: 'read',
    summary: 'What runs, what is open, and every way round.',
    run: ({ ask }) => ask({ of: 'status' }),
  },
  {
    method: 'GET',
    path: '/api/history',
    role: 'read',
    summary: 'How many attempts went which way, in steps of time.',
    query: {
      since: time('from when on, in milliseconds since 1970; default a day ago'),
      step: { type: 'integer', minimum: 1000, default: 300_000, description: 'length of a step in milliseconds' },
      source: word('of this address alone'),
    },
    run: ({ history, nowMs }, { query }) => {
      const now = nowMs();
      const since = sinceOf(query, now);
      const stepMs = query['step'] as number;
      if ((now - since) / stepMs > MAX_STEPS)
        throw new Refusal(400, `more than ${MAX_STEPS} steps; take longer ones`, { field: 'step' });
      const source = query['source'] === undefined ? {} : { source: addressIn('source', query['source'] as string) };
      return history({ since, stepMs, ...source });
    },
  },
  {
    method: 'GET',
    path: '/api/log',
    role: 'read',
    summary: 'Searches the journal; the newest first. All that is given must hold.',
    query: logQuery,
    audit: ({ query }) => JSON.stringify(query),
    run: ({ ask }, { query }) => ask({ of: 'log', filter: filterOf(query) }),
  },
  {
    method: 'GET',
    path: '/api/messages/:id',
    role: 'read',
    summary: 'The whole story of one message, or of all of a session.',
    params: { id: word('as it stands in the reply', 64) },
    audit: ({ params }) => params['id'] ?? '',
    run: async ({ ask }, { params }) => {
      const id = params['id'] ?? '';
      const answer = (await ask({ of: 'log', filter: { id, limit: 100 } })) as { readonly rows: readonly unknown[] };
      if (answer.rows.length === 0)
        throw new Refusal(404, 'the journal has nothing of it: older than journal.keep, or not of this gateway', {
          field: 'id',
        });
      return { ...answer, complaints: await ask({ of: 'complaints', limit: 100, id }) };
    },
  },
  {
    method: 'GET',
    path: '/api/top',
    role: 'read',
    summary: 'Who sends most, or is refused most.',
    query: {
      by: { type: 'string', maxLength: 20, enum: [...TOP_BY], default: 'source', description: 'what is summed up' },
      since: time('from when on; default a day ago'),
      class: word('of this class, or of all of a main class', 64),
      limit: limit(1000),
    },
    audit: ({ query }) => JSON.stringify(query),
    run: ({ ask, nowMs }, { query }) => {
      const { by, class: of, limit: most } = query as { by: 'source'; class?: string; limit: number };
      const since = sinceOf(query, nowMs());
      if (of !== undefined) knownClass(of);
      return ask({ of: 'top', question: { by, since, limit: most, ...(of !== undefined && { class: of }) } });
    },
  },
  {
    method: 'GET',
    path: '/api/receivers',
    role: 'read',
    summary:
      'How receivers see us: of what each prefix offered to whom, how much was taken; and block lists that they named.',
    query: { since: time('from when on; default a day ago'), limit: limit(1000) },
    run: async ({ receivers, listings, nowMs }, { query }) => ({
      rows: await receivers({ since: sinceOf(query, nowMs()), limit: query['limit'] as number }),
      listings: listings(),
    }),
  },
  {
    method: 'GET',
    path: '/api/senders/:address',
    role: 'read',
    summary: 'Who sends from an address: network, subscriber, settings with where they come from, what is counted.',
    params: { address: word('an address inside', 64) },
    run: async ({ sender }, { params }) => {
      const address = addressIn('address', params['address'] ?? '');
      const found = await sender(address);
      if (!found)
        throw new Refusal(404, `${address} is in no network: its connections to port 25 are refused`, {
          field: 'address',
        });
      return found;
    },
  },
  {
    method: 'GET',
    path: '/api/who/:address',
    role: 'read',
    summary: 'Whom an address belonged to at a time.',
    params: { address: word('an address inside', 64) },
    query: { at: time('in milliseconds since 1970; default now') },
    audit: ({ params, query }) => `${params['address'] ?? ''} ${(query['at'] as number | undefined) ?? 'now'}`,
    run: ({ ask, nowMs }, { params, query }) => {
      const { at = nowMs() } = query as { at?: number };
      return ask({ of: 'who', address: addressIn('address', params['address'] ?? ''), at });
    },
  },
  {
    method: 'GET',
    path: '/api/complaints',
    role: 'read',
    summary: 'Complaints that came in, and the message of each; the newest first.',
    query: { limit: limit(10_000), id: word('of a message', 64) },
    run: ({ ask }, { query }) => {
      const { limit: most, id } = query as { limit: number; id?: string };
      return ask({ of: 'complaints', limit: most, ...(id !== undefined && { id }) });
    },
  },
  {
    method: 'GET',
    path: '/api/locks',
    role: 'read',
    summary: 'What is locked, by whom and why.',
    run: ({ ask }) => ask({ of: 'locks' }),
  },
  {
    method: 'GET',
    path: '/api/locks/history',
    role: 'read',
    summary: 'What was locked and unlocked; the newest first.',
    query: { limit: limit(10_000) },
    run: ({ ask }, { query }) => ask({ of: 'lock-history', limit: query['limit'] as number }),
  },
  {
    method: 'POST',
    path: '/api/locks',
    role: 'operate',
    summary: 'Locks; locking again changes the lock.',
    body: { required: ['subject', 'reason'], properties: lockBody },
    audit: ({ body }) => JSON.stringify(body),
    run: ({ ask, nowMs }, { body, asker }) => {
      const { subject, identity, reason, how } = body as {
        subject: string;
        identity?: string;
        reason: string;
        how: 'reject';
      };
      const lock = {
        subject: lockedIn(subject),
        identity,
        how,
        reason,
        who: asker.name,
        until: untilOf(body, nowMs()),
      };
      return ask({ of: 'lock', lock });
    },
  },
  {
    method: 'DELETE',
    path: '/api/locks',
    role: 'operate',
    summary: 'Unlocks.',
    query: { subject: lockBody.subject, identity: lockBody.identity },
    audit: ({ query }) => JSON.stringify(query),
    run: ({ ask }, { query, asker }) => {
      const { subject, identity } = query as { subject?: string; identity?: string };
      if (subject === undefined)
        throw new Refusal(400, 'whom? an address, a prefix, @SUBSCRIBER or tenant:NAME', { field: 'subject' });
      return ask({
        of: 'unlock',
        subject: lockedIn(subject),
        who: asker.name,
        ...(identity !== undefined && { identity }),
      });
    },
  },
  {
    method: 'GET',
    path: '/api/steps',
    role: 'read',
    summary: "Whose mode is another than the configuration's.",
    run: ({ ask }) => ask({ of: 'steps' }),
  },
  {
    method: 'GET',
    path: '/api/steps/history',
    role: 'read',
    summary: 'What became of steps on the ladder; the newest first.',
    query: { limit: limit(10_000) },
    run: ({ ask }, { query }) => ask({ of: 'step-history', limit: query['limit'] as number }),
  },
  {
    method: 'POST',
    path: '/api/steps',
    role: 'operate',
    summary: 'Gives somebody another mode, for a while.',
    body: { required: ['subject', 'mode', 'reason'], properties: stepBody },
    audit: ({ body }) => JSON.stringify(body),
    run: ({ ask, nowMs }, { body, asker }) => {
      const { subject, mode, reason } = body as { subject: string; mode: Mode; reason: string };
      const step = { subject: movedIn(subject), mode, reason, who: asker.name, until: untilOf(body, nowMs()) };
      return ask({ of: 'step', step });
    },
  },
  {
    method: 'DELETE',
    path: '/api/steps',
    role: 'operate',
    summary: 'Takes a step back: the mode is what the configuration says.',
    query: { subject: stepBody.subject },
    audit: ({ query }) => JSON.stringify(query),
    run: ({ ask }, { query, asker }) => {
      const { subject } = query as { subject?: string };
      if (subject === undefined)
        throw new Refusal(400, 'whom? an address, @SUBSCRIBER or network:NAME', { field: 'subject' });
      return ask({ of: 'step-back', subject: movedIn(subject), who: asker.name });
    },
  },
  {
    method: 'GET',
    path: '/api/verifying',
    role: 'read',
    summary: 'Hosts that did not accept our certificate, and what is carried unread for them.',
    run: ({ ask }) => ask({ of: 'verifying' }),
  },
  {
    method: 'GET',
    path: '/api/classes',
    role: 'read',
    summary: 'Every class of reply, and what it means.',
    run: () => Promise.resolve(classes),
  },
  {
    method: 'GET',
    path: '/api/config',
    role: 'admin',
    summary:
      'The configuration: its file, every setting in effect with where it comes from, and whether it is on trial.',
    run: ({ config }) => Promise.resolve(config.shown()),
  },
  {
    method: 'POST',
    path: '/api/config/check',
    role: 'admin',
    summary:
      'What is wrong with a configuration; or what it would change: settings, kernel rules, and how the last day would have ended.',
    body: { required: ['text'], properties: { text: configText } },
    maxBodyBytes: MAX_CONFIG_BYTES,
    run: ({ config }, { body }) => config.check(body['text'] as string),
  },
  {
    method: 'POST',
    path: '/api/config/apply',
    role: 'admin',
    summary: 'Puts a configuration into effect that goes back by itself unless it is confirmed in time.',
    body: {
      required: ['text', 'for'],
      properties: { text: configText, for: word('how long it is on trial: from 1s to 1d, such as 5m', 20) },
    },
    maxBodyBytes: MAX_CONFIG_BYTES,
    audit: ({ body }) => `${(body['text'] as string).length} characters, for ${body['for']}`,
    run: ({ config, nowMs }, { body }) => {
      const now = nowMs();
      const confirmMs = (untilOf(body, now) ?? now) - now;
      if (confirmMs < 1_000 || confirmMs > DAY_MS) throw new Refusal(400, '"for" is from 1s to 1d', { field: 'for' });
      return config.apply(body['text'] as string, confirmMs);
    },
  },
  {
    method: 'POST',
    path: '/api/config/confirm',
    role: 'admin',
    summary: 'The configuration on trial stays.',
    audit: () => '',
    run: ({ config }) => config.confirm(),
  },
  {
    method: 'POST',
    path: '/api/config/back',
    role: 'admin',
    summary: 'The configuration before is put back at once.',
    audit: () => '',
    run: ({ config }) => config.back(),
  },
  {
    method: 'GET',
    path: '/api/people',
    role: 'admin',
    summary: 'Who may use the panel and the API.',
    run: ({ ask }) => ask({ of: 'people' }),
  },
  {
    method: 'GET',
    path: '/api/audit',
    role: 'admin',
    summary: 'Who looked at messages, and who changed what; the newest first.',
    query: { limit: limit(1000) },
    run: ({ audited }, { query }) => Promise.resolve(audited(query['limit'] as number)),
  },
];

function sinceOf(query: Given['query'], nowMs: number): number {
  const { since = nowMs - DAY_MS } = query as { since?: number };
  if (since < nowMs - MAX_DAYS * DAY_MS)
    throw new Refusal(400, `sums go back ${MAX_DAYS} days at most`, { field: 'since' });
  return since;
}

function filterOf(query: Given['query']): LogFilter {
  const { source, class: of } = query as { source?: string; class?: string };
  if (source !== undefined && canonical(source) === undefined && parsePrefix(source) === undefined)
    throw new Refusal(400, `"${source}" is no address and no prefix such as 198.51.100.0/24 (without host bits)`, {
      field: 'source',
    });
  if (of !== undefined) knownClass(of);
  return query as unknown as LogFilter;
}

function knownClass(of: string): void {
  if (!isClass(of) && !Object.keys(classes).some((name) => name.startsWith(`${of}.`)))
    throw new Refusal(400, `there is no class "${of}"; GET /api/classes lists all`, { field: 'class' });
}

function addressIn(field: string, given: string): string {
  const address = canonical(given);
  if (address === undefined) throw new Refusal(400, `"${given}" is no address`, { field });
  return address;
}

function lockedIn(subject: string): string {
  try {
    return lockSubject(subject);
  } catch (error) {
    if (error instanceof LockError) throw new Refusal(400, error.message, { field: 'subject' });
    throw error;
  }
}

/** When what is done for a while ends; undefined: never. */
function untilOf(body: Values, nowMs: number): number | undefined {
  const { for: length } = body as { for?: string };
  const lengthMs = length === undefined ? undefined : parseDurationMs(length);
  if (length !== undefined && !lengthMs)
    throw new Refusal(400, `"${length}" is no time such as 30m, 2h or 7d`, { field: 'for' });
  return lengthMs === undefined ? undefined : nowMs + lengthMs;
}

function movedIn(subject: string): string {
  return /^(?:@|network:)[A-Za-z0-9._-]+$/.test(subject) ? subject : addressIn('subject', subject);
}
