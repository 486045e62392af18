/** What a check of `postern doctor` found. */
export type Finding = {
  /** the check, one word */
  readonly check: string;
  /** `unknown`: it could not be looked at, and the text says what is missing */
  readonly state: 'ok' | 'fault' | 'unknown';
  readonly text: string;
  /** the command that mends it, or the sentence where no command does */
  readonly mend?: string;
};
