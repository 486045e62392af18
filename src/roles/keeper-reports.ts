/** Our own mail, as the configuration has it: who is told of what, and what has become of it. */
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { feedbackOf } from '../policy/feedback.ts';
import { composeArf } from '../record/arf.ts';
import { composeDigest } from '../record/digest.ts';
import type { Attempt, Copy } from '../record/events.ts';
import { type Handing, Outgoing, type Sent } from '../record/outgoing.ts';
import { Mark, type OwnMail, type Writer } from '../record/own-mail.ts';
import { Reports } from '../record/reports.ts';

export type KeeperReports = {
  readonly hold: (copy: Copy) => void;
  /** An attempt as it came, whom it counts for, and as the network's `log` leaves it. */
  readonly seen: (attempt: Attempt, subject: string, kept: Attempt) => void;
  readonly configure: () => void;
  readonly mailed: (sent: Sent) => void;
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
};

export function keeperReports({ config, clock, log, version, hand }: ReportDeps): KeeperReports {
  const mark = new Mark();
  const outgoing = new Outgoing({ clock, log, hand });
  let book = bookOf(config());
  let [looped, lost] = [0, 0];

  /** False where nobody is to be told. */
  const write = (attempt: Attempt, make: (writer: Writer, to: string) => Promise<OwnMail>): boolean => {
    const { from } = config().reports;
    const to = book.contactOf(attempt);
    if (from === undefined || to === undefined) return false;
    make({ from, gateway: config().gateway.name, mark }, to).then(
      (own) => outgoing.put(own),
      (error: unknown) => {
        lost++;
        log.write('error', 'report.not-made', { id: attempt.id, error: String(error) });
      },
    );
    return true;
  };
  const reports = new Reports({
    nowMs: () => clock.nowMs(),
    perHour: () => config().reports.perHour,
    report: (reported) =>
      write(reported.attempt, (writer, to) =>
        composeArf(writer, { ...reported, to, version, helpUrl: config().gateway.helpUrl, nowMs: clock.nowMs() }),
      ),
    digest: (digest) =>
      write(digest.attempt, (writer, to) => composeDigest(writer, { ...digest, to, nowMs: clock.nowMs() })),
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
    mailed: (sent) => outgoing.answered(sent),
    tend() {
      reports.tend();
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

type Whose = Pick<Attempt, 'network' | 'subscriber'>;

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
      const ofTenant = contacts.get(subscriber?.tenant ?? network?.tenant ?? '');
      return subscriber?.contact ?? ofTenant ?? network?.contact ?? reports.contact;
    },
    isReported(whose) {
      const [subscriber, network] = partsOf(whose);
      return reports.from !== undefined && (subscriber?.report ?? network?.report) !== 'none';
    },
  };
}
