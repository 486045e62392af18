/** Complaints that came in: state_dir/complaints.jsonl. No address of mail is in it. */
import type { Log } from '../kit/log.ts';
import { maybe, object, oneOf, type Shape, text, whole, yesNo } from '../kit/shape.ts';
import { COMPLAINED, type Complained } from '../policy/feedback.ts';
import { History } from './history.ts';

export type Complaint = {
  readonly at: number;
  readonly via: 'lmtp' | 'smtp' | 'maildir' | 'api';
  readonly type: Complained;
  /** how its message was found; undefined: it was not */
  readonly how: 'id' | 'message-id' | 'envelope' | undefined;
  /** of the message */
  readonly id: string | undefined;
  /** from where the message came, or is said to have come */
  readonly source: string | undefined;
  readonly network: string | undefined;
  readonly subscriber: string | undefined;
  readonly tenant: string | undefined;
  /** towards rules: the first by our own id about a message, and not that it was no spam */
  readonly counts: boolean;
};

const isComplaint: Shape<Complaint> = object<Complaint>({
  at: whole(),
  via: oneOf('lmtp', 'smtp', 'maildir', 'api'),
  type: oneOf(...COMPLAINED),
  how: maybe(oneOf('id', 'message-id', 'envelope')),
  id: maybe(text(64)),
  source: maybe(text(64)),
  network: maybe(text(64)),
  subscriber: maybe(text(64)),
  tenant: maybe(text(64)),
  counts: yesNo,
});

export class ComplaintHistory extends History<Complaint> {
  constructor(path: string, log: Log) {
    const effect = 'complaints count; after a restart it is not known that they were made';
    super({ path, log, isEvent: isComplaint, failure: { event: 'complaints.not-kept', effect } });
  }

  /** About one message, the newest first. */
  of(id: string): readonly Complaint[] {
    return this.events.filter((one) => one.id === id).reverse();
  }

  /** Whether one about this message has counted. */
  has(id: string): boolean {
    return this.events.some((one) => one.id === id && one.counts);
  }
}
