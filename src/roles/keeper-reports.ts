/** Our own mail, as the configuration has it: who is told of what, and what has become of it. */
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { feedbackOf } from '../policy/feedback.ts';
import { composeArf, dateText } from '../record/arf.ts';
import { composeDigest } from '../record/digest.ts';
import type { Attempt, Copy } from '../record/events.ts';
import { type Handing, Outgoing, type Sent } from '../record/outgoing.ts';
import { composeNotice, type Places } from '../record/notice.ts';
import { composeTable } from '../record/table-mail.ts';
import { Hourly } from '../record/hourly.ts';
import type { Lock, LockEvent } from '../ledger/language.ts';
import type { NOTICE_PLACES } from '../config/schema/reports.ts';
import { keeperSums, type SumsDeps } from './keeper-sums.ts';
import { Mark, type OwnMail, type Writer } from '../record/own-mail.ts';
import { Reports } from '../record/reports.ts';

export type KeeperReports = {
  readonly hold: (copy: Copy) => void;
  /** An attempt as it came, whom it counts for, and as the network's `log` leaves it. */
  readonly seen: (attempt: Attempt, subject: string, kept: Attempt) => void;
  readonly configure: () => void;
  readonly mailed: (sent: Sent) => void;
  readonly locked: (event: LockEvent) => void;
  /** To be called each second. */
  readonly tend: () => void;
  /** Since the keeper's start. */
  readonly counts: () => ReportCounts;
  /** What waits is lost, and told of. */
  readonly close: () => void;
};

export type ReportCounts = {
  readonly sent: number;
  /** mails that were given up, and refusals of which nobody will hear */
  readonly dropped: number;
  /** refusals of reports of ours */
  readonly looped: number;
};

export type ReportDeps = {
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly hand: (mail: Handing) => boolean;
  /** To whom it belongs what is locked: an address or a prefix, `@NAME`, `tenant:NAME`; undefined: nobody. */
  readonly whoIs: (subject: string) => Whose | undefined;
  readonly sums: SumsDeps['sums'];
  readonly stateDir: string;
};

export function keeperReports(deps: ReportDeps): KeeperReports {
  const { config, clock, log, version, hand } = deps;
  const mark = new Mark();
  const outgoing = new Outgoing({ clock, log, hand });
  let book = bookOf(config());
  let [looped, lost] = [0, 0];

  /** False where nobody is to be told. */
  const write = (
    id: string,
    to: string | undefined,
    make: (writer: Writer, to: string) => Promise<OwnMail>,
  ): boolean => {
    const { from } = config().reports;
    if (from === undefined || to === undefined) return false;
    make({ from, gateway: config().gateway.name, mark }, to).then(
      (own) => outgoing.put(own),
      (error: unknown) => {
        lost++;
        log.write('error', 'report.not-made', { about: id, error: String(error) });
      },
    );
    return true;
  };
  const reports = new Reports({
    nowMs: () => clock.nowMs(),
    perHour: () => config().reports.perHour,
    report: (reported) =>
      write(reported.attempt.id, book.contactOf(reported.attempt), (writer, to) =>
        composeArf(writer, { ...reported, to, version, helpUrl: config().gateway.helpUrl, nowMs: clock.nowMs() }),
      ),
    digest: (digest) =>
      write(digest.lastId, book.contactOf(digest.attempt), (writer, to) =>
        composeDigest(writer, { ...digest, to, nowMs: clock.nowMs() }),
      ),
  });

  const notices = new Hourly();
  const tables = keeperSums({
    ...{ stateDir: deps.stateDir, config, clock, log, sums: deps.sums },
    contactOf: (whose) => book.contactOf(whose),
    mail: ({ to, ...table }) =>
      void write(table.kind, to, (writer) => composeTable(writer, { to, ...table, nowMs: clock.nowMs() })),
  });

  return {
    hold: (copy) => reports.hold(copy),
    seen(attempt, subject, kept) {
      if (attempt.verdict !== 'reject') return;
      const copy = reports.takeCopy(attempt.id);
      if (!book.isReported(attempt)) return;
      const type = feedbackOf(attempt.class, attempt.findings);
      if (type === undefined || book.contactOf(attempt) === undefined) return;
      if (copy && mark.isIn(Buffer.from(copy.octets, 'base64').toString('latin1'))) {
        looped++;
        log.write('warn', 'report.looped', { id: attempt.id });
        return;
      }
      reports.refused({ subject, type, attempt: kept, copy });
    },
    configure: () => void (book = bookOf(config())),
    locked({ what, lock, at }) {
      const { lockNotice, perHour } = config().reports;
      if (what !== 'locked' || lockNotice === undefined) return;
      const whose = deps.whoIs(lock.subject);
      // Whoever is locked again and again is told of no more often than of refusals.
      if (!whose || !notices.take(lock.subject, perHour, clock.nowMs())) return;
      const places = placesOf(lock, config().gateway.name, at);
      write(lock.subject, book.contactOf(whose), (writer, to) =>
        composeNotice(writer, { to, template: lockNotice, places, nowMs: clock.nowMs() }),
      );
    },
    mailed: (sent) => outgoing.answered(sent),
    tend() {
      reports.tend();
      tables();
      outgoing.tend();
    },
    counts: () => ({ sent: outgoing.sent, dropped: outgoing.dropped + reports.ignored + lost, looped }),
    close() {
      if (reports.untold > 0) log.write('warn', 'report.untold', { refusals: reports.untold });
      outgoing.close();
    },
  };
}

export type Book = {
  /** Who is told: the subscriber's own contact, else the tenant's, else the network's, else the one for all. */
  readonly contactOf: (whose: Whose) => string | undefined;
  readonly isReported: (whose: Whose) => boolean;
};

/** `tenant` where it is known without either. */
export type Whose = {
  readonly network: string;
  readonly subscriber: string | undefined;
  readonly tenant?: string | undefined;
};

/** Of 100,000 subscribers one is found at once. */
export function bookOf({ network: networks, subscriber: subscribers, tenant, reports }: Config): Book {
  const networkOf = new Map(networks.map((one) => [one.name, one]));
  const subscriberOf = new Map(subscribers.map((one) => [one.name, one]));
  const contacts = new Map(tenant.map(({ name, contact }) => [name, contact]));
  const partsOf = ({ network, subscriber }: Whose) =>
    [subscriberOf.get(subscriber ?? ''), networkOf.get(network)] as const;
  return {
    contactOf(whose) {
      const [subscriber, network] = partsOf(whose);
      const ofTenant = contacts.get(whose.tenant ?? subscriber?.tenant ?? network?.tenant ?? '');
      return subscriber?.contact ?? ofTenant ?? network?.contact ?? reports.contact;
    },
    isReported(whose) {
      const [subscriber, network] = partsOf(whose);
      return reports.from !== undefined && (subscriber?.report ?? network?.report) !== 'none';
    },
  };
}

function placesOf(lock: Lock, gateway: string, atMs: number): Places & Record<(typeof NOTICE_PLACES)[number], string> {
  return {
    gateway,
    subject: lock.subject.replace(/^@/, ''),
    identity: lock.identity ?? '(all of it)',
    reason: lock.reason,
    who: lock.who,
    how: lock.how,
    since: dateText(atMs),
    until: lock.until === undefined ? 'it is unlocked' : dateText(lock.until),
    evidence: (lock.evidence ?? []).join(' ') || '(none)',
  };
}
