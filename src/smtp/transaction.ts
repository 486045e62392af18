/** One mail transaction, from MAIL to the end of DATA: a new object each time, never one cleared field by field. */

/** Extensions that a transaction can depend on: a server without one of them cannot take it. */
export type Extension = '8BITMIME' | 'SMTPUTF8' | 'DSN' | 'SIZE' | 'STARTTLS';

export type Recipient = {
  /** with its angle brackets, latin1 (one character for each byte) */
  readonly path: string;
  /** `""` or ` NOTIFY=NEVER`, as it will be passed on */
  readonly parameters: string;
};

export type MailFrom = {
  readonly path: string;
  readonly parameters: string;
  readonly needs: readonly Extension[];
};

export type Transaction = {
  readonly id: string;
  readonly from: MailFrom;
  readonly smtpUtf8: boolean;
  /** in the order asked; `code` is undefined until it is answered */
  readonly recipients: { readonly recipient: Recipient; code: number | undefined }[];
};

/** A recipient stands: the far side has taken it. */
export function hasAccepted({ recipients }: Transaction): boolean {
  for (const { code } of recipients) if (code !== undefined && code < 300) return true;
  return false;
}

export function acceptedOf(transaction: Transaction): readonly Recipient[] {
  return transaction.recipients.filter(({ code }) => code !== undefined && code < 300).map((r) => r.recipient);
}
