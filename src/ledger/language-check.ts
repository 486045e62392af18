/** Whether a line of the keeper's socket is one of its language: every string, list and number in it has a bound. */
import { amount, listOf, maybe, object, oneOf, type Shape, text, union, whole, yesNo } from '../kit/shape.ts';
import { isInquiry, isInquiryAnswer } from './inquiry.ts';
import type { Lease, Need } from './counters.ts';
import { LADDER } from '../policy/ladder.ts';
import { PERIODS, type Rule, UNITS } from '../policy/limits.ts';
import type { Earned } from '../policy/quota.ts';
import { isWorkerEvent } from '../record/events.ts';
import { type LogFilter, MAX_LOG_ROWS, TOP_BY, type SourcesQuestion, type TopQuestion } from '../record/query.ts';
import {
  type Back,
  type FromKeeper,
  type KernelReport,
  type Lock,
  MAX_BATCH,
  MAX_INSIDE,
  MAX_LOCKS,
  MAX_MAIL,
  MAX_NEEDS,
  MAX_PAIRS,
  MAX_REASON,
  MAX_SECURED,
  MAX_TAKES,
  type Question,
  type SecuredTold,
  type Step,
  type TakenAnswer,
  type ToKeeper,
  type VerifyingPair,
  type VerifyingTold,
  VERSION,
} from './language.ts';

const source = text(64);
/** `subjectOf`, or an identity of it */
const subject = text(400);
const what = { unit: oneOf(...UNITS), period: oneOf(...PERIODS) };
const earned: Shape<Earned> = object<Earned>({ start: whole(), bad: whole() });
const rule: Shape<Rule> = object<Rule>({ ...what, limit: whole(), earned: maybe(earned) as Shape<Earned> });
const need: Shape<Need> = object<Need>({ subject, rule, count: whole(), value: maybe(text(32)) as Shape<string> });
const lease: Shape<Lease> = object<Lease>({
  count: whole(),
  start: whole(),
  until: whole(),
  left: whole(-Number.MAX_SAFE_INTEGER),
  limit: maybe(whole()) as Shape<number>,
});

const how = oneOf('kernel', 'defer', 'reject');
const identity = maybe(text(300)) as Shape<string>;
const lockKeys = {
  subject: source,
  identity,
  how,
  reason: text(MAX_REASON),
  who: text(100),
  until: maybe(whole()),
  evidence: maybe(listOf(text(64), 10)),
};
export const isLock: Shape<Lock> = object<Lock>({ ...lockKeys, since: whole() });

const pairKeys = { subject: source, server: source, until: whole() };
const told: Shape<VerifyingTold> = object<VerifyingTold>(pairKeys);
export const isVerifyingPair: Shape<VerifyingPair> = object<VerifyingPair>({
  ...pairKeys,
  since: whole(),
  carried: whole(),
  bytes: whole(),
});
const stepKeys = {
  subject: source,
  mode: oneOf(...LADDER),
  reason: text(MAX_REASON),
  who: text(100),
  until: maybe(whole()),
  evidence: maybe(listOf(text(64), 10)),
};
export const isStep: Shape<Step> = object<Step>({ ...stepKeys, since: whole() });

const report: Shape<KernelReport> = object<KernelReport>({
  alive: yesNo,
  aliveSince: whole(),
  repaired: whole(),
  inside: listOf(object({ interface: text(64), present: yesNo }), MAX_INSIDE),
  refused: listOf(object({ network: text(64), reason: text(64), packets: amount }), 100_000),
  exemptTo: listOf(object({ prefix: text(64), packets: amount }), 10_000),
  topRefused: listOf(object({ source, packets: amount }), 1000),
  workers: listOf(
    object<KernelReport['workers'][number]>({ worker: whole(), answeredMs: maybe(amount), failures: whole() }),
    1000,
  ),
  configErrors: whole(),
});

const tenant = maybe(text(64)) as Shape<string>;
const role = oneOf('read', 'operate', 'admin');

const question: Shape<Question> = union<Question>('of', {
  status: object({ of: oneOf('status') }),
  locks: object({ of: oneOf('locks') }),
  counters: object({ of: oneOf('counters'), subject }),
  lock: object({ of: oneOf('lock'), lock: object<Omit<Lock, 'since'>>(lockKeys) }),
  unlock: object({ of: oneOf('unlock'), subject: source, identity, who: text(100) }),
  'lock-history': object({ of: oneOf('lock-history'), limit: whole(1, 10_000) }),
  whose: object({ of: oneOf('whose'), subject: source }),
  steps: object({ of: oneOf('steps') }),
  step: object({ of: oneOf('step'), step: object<Omit<Step, 'since'>>(stepKeys) }),
  'step-back': object({ of: oneOf('step-back'), subject: source, who: text(100) }),
  'step-history': object({ of: oneOf('step-history'), limit: whole(1, 10_000) }),
  ca: object({ of: oneOf('ca'), rotate: maybe(text(100)) }),
  verifying: object({ of: oneOf('verifying') }),
  'verifying-forget': object({ of: oneOf('verifying-forget'), subject: source, server: source, who: text(100) }),
  top: object({
    of: oneOf('top'),
    who: maybe(text(100)) as Shape<string>,
    question: object<TopQuestion>({
      by: oneOf(...TOP_BY),
      since: whole(),
      class: maybe(text(64)) as Shape<string>,
      tenant,
      limit: whole(1, 10_000),
    }),
  }),
  people: object({ of: oneOf('people') }),
  'user-add': object({ of: oneOf('user-add'), name: text(64), role, password: text(1000), tenant, who: text(100) }),
  'token-add': object({
    of: oneOf('token-add'),
    name: text(64),
    role,
    until: maybe(whole()),
    from: maybe(listOf(text(64), 100)),
    tenant,
    who: text(100),
  }),
  'person-remove': object({ of: oneOf('person-remove'), name: text(64), who: text(100) }),
  complaints: object({ of: oneOf('complaints'), limit: whole(1, 10_000), id: maybe(text(64)) as Shape<string> }),
  who: object({ of: oneOf('who'), address: source, at: whole(), who: maybe(text(100)) as Shape<string> }),
  sources: object({
    of: oneOf('sources'),
    question: object<SourcesQuestion>({ since: whole(), limit: whole(1, 10_000) }),
  }),
  log: object({
    of: oneOf('log'),
    who: maybe(text(100)) as Shape<string>,
    filter: object<LogFilter>({
      since: maybe(whole()) as Shape<number>,
      until: maybe(whole()) as Shape<number>,
      source: maybe(source) as Shape<string>,
      subscriber: maybe(text(64)) as Shape<string>,
      tenant,
      identity: maybe(text(300)) as Shape<string>,
      sender: maybe(text(1000)) as Shape<string>,
      recipient: maybe(text(1000)) as Shape<string>,
      class: maybe(text(64)) as Shape<string>,
      id: maybe(text(64)) as Shape<string>,
      messageId: maybe(text(1000)) as Shape<string>,
      limit: whole(1, MAX_LOG_ROWS),
    }),
  }),
});

const counted = listOf(object({ source, count: whole(1, 1_000_000) }), MAX_BATCH);

type Kinds<T> = T & { readonly kind: string };
const isToKeeper: Shape<ToKeeper> = union<Kinds<ToKeeper>>('kind', {
  hello: object<Extract<ToKeeper, { kind: 'hello' }>>({
    kind: oneOf('hello'),
    v: oneOf(VERSION),
    role: oneOf('worker', 'guard', 'cli'),
    worker: maybe(whole(0, 10_000)) as Shape<number>,
  }),
  events: object({ kind: oneOf('events'), batch: listOf(isWorkerEvent, MAX_BATCH) }),
  admit: object({
    kind: oneOf('admit'),
    asks: listOf(object({ ask: whole(), source, limit: whole(1) }), MAX_BATCH),
  }),
  release: object({ kind: oneOf('release'), sources: counted }),
  inquire: object({
    kind: oneOf('inquire'),
    asks: listOf(object({ ask: whole(), inquiry: isInquiry }), MAX_BATCH),
  }),
  returned: object({ kind: oneOf('returned'), of: oneOf('connections', 'limits'), recall: whole() }),
  take: object({
    kind: oneOf('take'),
    asks: listOf(object({ ask: whole(), needs: listOf(need, MAX_NEEDS) }), MAX_TAKES),
  }),
  back: object({
    kind: oneOf('back'),
    items: listOf(object<Back>({ subject, rule, start: whole(), count: whole(1) }), MAX_BATCH),
  }),
  spent: object({ kind: oneOf('spent'), needs: listOf(need, MAX_BATCH) }),
  hold: object({ kind: oneOf('hold'), sources: counted }),
  mailed: object({ kind: oneOf('mailed'), mail: whole(), code: whole(0, 999), reason: text(MAX_REASON) }),
  kernel: object({ kind: oneOf('kernel'), report }),
  ask: object({ kind: oneOf('ask'), ask: whole(), question }),
});

const anything: Shape<unknown> = (raw): raw is unknown => raw !== undefined;
const isTaken: Shape<TakenAnswer> = (raw): raw is TakenAnswer => isGranted(raw) || isOver(raw);
const isGranted = object<Extract<TakenAnswer, { ok: true }>>({
  ask: whole(),
  ok: oneOf(true),
  leases: listOf(lease, MAX_NEEDS),
});
const isOver = object<Extract<TakenAnswer, { ok: false }>>({
  ask: whole(),
  ok: oneOf(false),
  over: whole(0, MAX_NEEDS),
  retryMs: amount,
});
const isFromKeeper: Shape<FromKeeper> = union<Kinds<FromKeeper>>('kind', {
  locks: object({ kind: oneOf('locks'), locks: listOf(isLock, MAX_LOCKS) }),
  secured: object({
    kind: oneOf('secured'),
    servers: listOf(object<SecuredTold>({ server: source, until: whole() }), MAX_SECURED),
  }),
  verifying: object({ kind: oneOf('verifying'), isWhole: yesNo, pairs: listOf(told, MAX_PAIRS) }),
  steps: object({ kind: oneOf('steps'), steps: listOf(isStep, MAX_LOCKS) }),
  admitted: object({ kind: oneOf('admitted'), answers: listOf(object({ ask: whole(), ok: yesNo }), MAX_BATCH) }),
  informed: object({
    kind: oneOf('informed'),
    answers: listOf(object({ ask: whole(), answer: isInquiryAnswer }), MAX_BATCH),
  }),
  recall: object<Extract<FromKeeper, { kind: 'recall' }>>({
    kind: oneOf('recall'),
    of: oneOf('connections', 'limits'),
    recall: whole(),
    sources: maybe(listOf(subject, MAX_BATCH)) as Shape<readonly string[]>,
  }),
  taken: object({ kind: oneOf('taken'), answers: listOf(isTaken, MAX_TAKES) }),
  mail: object({ kind: oneOf('mail'), mail: whole(), to: text(400), octets: text(MAX_MAIL) }),
  answer: (raw): raw is Extract<FromKeeper, { kind: 'answer' }> => isAnswer(raw) || isRefusal(raw),
});
const isAnswer = object<Extract<FromKeeper, { ok: true }>>({
  kind: oneOf('answer'),
  ask: whole(),
  ok: oneOf(true),
  value: anything,
});
const isRefusal = object<Extract<FromKeeper, { ok: false }>>({
  kind: oneOf('answer'),
  ask: whole(),
  ok: oneOf(false),
  error: text(1000),
});

/** The message as it is meant, or undefined when it is none of ours: the connection is then ended. */
export function checkToKeeper(raw: unknown): ToKeeper | undefined {
  return isToKeeper(raw) ? raw : undefined;
}

export function checkFromKeeper(raw: unknown): FromKeeper | undefined {
  return isFromKeeper(raw) ? raw : undefined;
}
