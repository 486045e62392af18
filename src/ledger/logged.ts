/**
 * Whom a line of the log names. An identity may be an address of mail, and what is kept of those is each network's to say
 * (`log`); `postern locks` and `postern log` show it to whom they may.
 */
export function logged({ subject, identity }: { readonly subject: string; readonly identity?: string | undefined }): {
  readonly subject: string;
  readonly ofIdentity?: true;
} {
  return identity === undefined ? { subject } : { subject, ofIdentity: true };
}
