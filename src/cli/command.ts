/** The shape of a command; main.ts finds them by file name. */
export type Io = {
  /** prints the text; a line end is added when it has none */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** standard output is a terminal: colours and progress may be used (never when NO_COLOR is set) */
  readonly isTerminal: boolean;
};

export type Command = {
  readonly name: string;
  /** one line for `postern --help` */
  readonly summary: string;
  /** the whole text of `postern NAME --help`, with at least one example */
  readonly help: string;
  /** Exit status: 0 done, 1 the answer is no or it failed, 2 wrong arguments (throw UsageError). */
  readonly run: (args: readonly string[], io: Io) => Promise<number>;
};

/** Wrong arguments: main.ts prints the message, points to --help, exits 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Where the configuration is looked for when --config is not given. */
export const DEFAULT_CONFIG = '/etc/postern/postern.toml';
