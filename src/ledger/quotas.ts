/**
 * Earned quotas, kept in state_dir/quotas.jsonl: the last line of a subject counts.
 *
 * A day is one of the calendar in UTC, as that of the limit is. It is settled when somebody is next asked about: who does
 * not send costs nothing and keeps what he has. A keeper that is killed has lost what the last second has seen of a day,
 * and no step.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { putLast } from '../kit/recent.ts';
import { listOf, object, type Shape, text, whole } from '../kit/shape.ts';
import { type Rule, windowOf } from '../policy/limits.ts';
import { verdictOf } from '../policy/verdict.ts';
import { afterDay, type Day, type Earned, NO_DAY } from '../policy/quota.ts';
import type { Attempt } from '../record/events.ts';
import type { Quota, QuotaStep } from './language.ts';

/** The quota's steps that are shown. */
const MAX_STEPS = 60;
/** Subjects at a time; the one that was not asked for longest is forgotten, and is a stranger then. */
const MAX_SUBJECTS = 200_000;
const MAX_OUTDATED = 20_000;

type Known = { readonly subject: string; quota: number; start: number; day: Day; steps: readonly QuotaStep[] };
/** As it was last asked for. */
type Terms = { readonly earned: Earned; readonly most: number };

const isStep: Shape<QuotaStep> = object<QuotaStep>({ at: whole(), from: whole(), to: whole(), reason: text(300) });
const isDay: Shape<Day> = object<Day>({ asked: whole(), refused: whole(), bounced: whole(), blocked: whole() });
const isKnown: Shape<Known> = object<Known>({
  subject: text(400),
  quota: whole(),
  start: whole(),
  day: isDay,
  steps: listOf(isStep, MAX_STEPS),
});

type Sent = Pick<Attempt, 'sender' | 'recipients' | 'verdict' | 'class' | 'wouldBe' | 'at'>;

const isFar = (of: string): boolean => of === 'upstream.reply';

export class Quotas {
  readonly #path: string | undefined;
  readonly #log: Log;
  readonly #known = new Map<string, Known>();
  readonly #terms = new Map<string, Terms>();
  readonly #changed = new Set<Known>();
  #lines = 0;
  #failed = false;

  /** Without a path nothing is kept. */
  constructor(path: string | undefined, log: Log) {
    this.#path = path;
    this.#log = log;
    if (path !== undefined) this.#read(path);
  }

  /** The rule with the limit that holds for this subject now. */
  ruleFor(subject: string, rule: Rule, nowMs: number): Rule {
    const { earned, limit: most } = rule;
    if (!earned) return rule;
    let known = this.#known.get(subject);
    if (!known) {
      known = { subject, quota: earned.start, start: windowOf('day', nowMs).start, day: NO_DAY, steps: [] };
      this.#changed.add(known);
    }
    const forgotten = putLast(this.#known, subject, known, MAX_SUBJECTS);
    if (forgotten !== undefined) this.#terms.delete(forgotten);
    this.#terms.set(subject, { earned, most });
    this.#settle(known, nowMs);
    return { ...rule, limit: Math.min(most, known.quota) };
  }

  /** What became of an attempt of somebody whose quota is earned. */
  seen({ sender, recipients, verdict, class: of, wouldBe, at }: Sent, subject: string): void {
    const known = this.#known.get(subject);
    if (!known || sender === undefined) return;
    this.#settle(known, at);
    const { asked, refused, bounced, blocked } = known.day;
    const isRefused = verdict === 'reject' || (wouldBe !== undefined && verdictOf(wouldBe).kind === 'reject');
    // Without a recipient that stood there was no message, and the far side's word is counted with each recipient.
    const isMessage = recipients.some(({ code }) => code < 300);
    known.day = {
      asked: asked + recipients.filter(({ code, class: why }) => code < 300 || isFar(why)).length,
      refused: refused + recipients.filter(({ code, class: why }) => code >= 500 && isFar(why)).length,
      bounced: bounced + (isMessage && verdict === 'reject' && isFar(of) ? 1 : 0),
      blocked: blocked + (isRefused && !isFar(wouldBe ?? of) ? 1 : 0),
    };
    this.#changed.add(known);
  }

  /** Undefined of somebody who has not been asked about. */
  of(subject: string, nowMs: number): Quota | undefined {
    const known = this.#known.get(subject);
    if (!known) return undefined;
    this.#settle(known, nowMs);
    const { quota, day, steps } = known;
    return { subject, quota, most: this.#terms.get(subject)?.most, day, steps };
  }

  /** To be called each second: what has changed goes to the file. */
  write(): void {
    const path = this.#path;
    if (path === undefined || this.#changed.size === 0) return;
    const lines = Array.from(this.#changed, (known) => `${JSON.stringify(known)}\n`);
    this.#changed.clear();
    this.#lines += lines.length;
    try {
      if (this.#lines > this.#known.size + MAX_OUTDATED) this.#rewrite(path);
      else appendFileSync(path, lines.join(''), { mode: 0o640 });
      this.#failed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  /** A day that has ended leads to a step. */
  #settle(known: Known, nowMs: number): void {
    const { start } = windowOf('day', nowMs);
    if (start <= known.start) return;
    const terms = this.#terms.get(known.subject);
    // Read from the file, and not asked for yet: how it is earned is not known.
    if (!terms) return;
    const step = afterDay(known.quota, known.day, terms.earned, terms.most);
    if (step && step.quota !== known.quota) {
      const { subject, quota: from } = known;
      const { quota: to, reason } = step;
      this.#log.write('info', 'quota.step', { subject, from, to, reason });
      known.steps = [...known.steps, { at: nowMs, from, to, reason }].slice(-MAX_STEPS);
      known.quota = to;
    }
    known.start = start;
    known.day = NO_DAY;
    this.#changed.add(known);
  }

  #read(path: string): void {
    let lines: readonly string[];
    try {
      lines = readFileSync(path, 'utf8').split('\n');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
      return;
    }
    for (const line of lines) {
      try {
        const raw: unknown = JSON.parse(line);
        if (isKnown(raw)) this.#known.set(raw.subject, raw);
      } catch {
        // The last line of a keeper that was killed.
      }
    }
    this.#lines = lines.length;
  }

  #rewrite(path: string): void {
    writeAtomically(path, Array.from(this.#known.values(), (known) => `${JSON.stringify(known)}\n`).join(''));
    this.#lines = this.#known.size;
  }

  #complain(error: unknown): void {
    if (!this.#failed)
      this.#log.write('error', 'quotas.not-kept', {
        path: this.#path,
        error: String(error),
        effect: 'quotas are earned, and go back to an older state after a restart',
      });
    this.#failed = true;
  }
}
