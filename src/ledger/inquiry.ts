/**
 * What a filter asks the keeper about a message, which has seen those of all workers: each question also counts what it is
 * about.
 */
import { listOf, maybe, object, oneOf, type Shape, text, union, whole, yesNo } from '../kit/shape.ts';

/** So many numbers are a sketch: the less they differ, the more words two texts have in common (campaigns.ts). */
export const SKETCH_LENGTH = 63;
export const MAX_KEYS = 20;

export type Inquiry =
  | {
      readonly of: 'campaign';
      readonly subscriber: string;
      /** who is behind it, as far as the message says */
      readonly identity: string;
      /** of the text; empty when there is too little of it */
      readonly sketch: readonly number[];
      /** what such mail is for, such as a wallet: the same one is the same campaign, whatever the text */
      readonly keys: readonly string[];
      /** a copy of one message, sent on by many: they are one */
      readonly copy?: string;
    }
  | { readonly of: 'behaviour'; readonly subscriber: string; readonly helo: string };

/** How many took part in what this message looks like, within the window, this one included. */
export type CampaignAnswer = {
  readonly of: 'campaign';
  readonly subscribers: number;
  readonly identities: number;
  readonly messages: number;
};

/** What a subscriber did within the window. */
export type BehaviourAnswer = {
  readonly of: 'behaviour';
  readonly helos: number;
  readonly senderDomains: number;
  readonly recipients: number;
  /** recipients that the far side was asked about, and those that it does not know */
  readonly asked: number;
  readonly unknown: number;
  /** it has never sent before, as far as is known */
  readonly isFirst: boolean;
};

export type InquiryAnswer = CampaignAnswer | BehaviourAnswer;

const subscriber = text(64);

export const isInquiry: Shape<Inquiry> = union<Inquiry>('of', {
  campaign: object<Extract<Inquiry, { of: 'campaign' }>>({
    of: oneOf('campaign'),
    subscriber,
    identity: text(600),
    sketch: listOf(whole(0, 2 ** 32), SKETCH_LENGTH),
    keys: listOf(text(100), MAX_KEYS),
    copy: maybe(text(100)) as Shape<string>,
  }),
  behaviour: object<Extract<Inquiry, { of: 'behaviour' }>>({ of: oneOf('behaviour'), subscriber, helo: text(1000) }),
});

export const isInquiryAnswer: Shape<InquiryAnswer> = union<InquiryAnswer>('of', {
  campaign: object<CampaignAnswer>({
    of: oneOf('campaign'),
    subscribers: whole(),
    identities: whole(),
    messages: whole(),
  }),
  behaviour: object<BehaviourAnswer>({
    of: oneOf('behaviour'),
    helos: whole(),
    senderDomains: whole(),
    recipients: whole(),
    asked: whole(),
    unknown: whole(),
    isFirst: yesNo,
  }),
});
