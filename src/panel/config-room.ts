/** What the panel is told of the configuration, and what it may ask for. */
import type { WishAnswer } from '../kit/wish.ts';

export type Checked =
  | {
      readonly ok: false;
      /** `line` is 0 for what is about the whole file */
      readonly errors: readonly { readonly line: number; readonly key: string; readonly expected: string }[];
    }
  | {
      readonly ok: true;
      /** lines of the effective settings, and of the kernel's rules, that are otherwise */
      readonly settings: readonly string[];
      readonly rules: readonly string[];
      /** what the attempts of the last day would have met, as `postern predict --config` says it; or why that is not known */
      readonly predicted: { readonly sums: object; readonly rows: readonly object[] } | { readonly problem: string };
    };

export type ConfigShown = {
  readonly file: string;
  readonly text: string;
  /** every setting with where it comes from */
  readonly effective: string;
  readonly mayApply: boolean;
  /** when the configuration before comes back unless this one is confirmed; milliseconds since 1970 */
  readonly trialUntil: number | undefined;
};

export type ConfigRoom = {
  readonly shown: () => ConfigShown;
  readonly check: (text: string) => Promise<Checked>;
  /** Rejects with a Refusal when it is not allowed, or nobody carries it out. */
  readonly apply: (text: string, confirmMs: number) => Promise<WishAnswer>;
  readonly confirm: () => Promise<WishAnswer>;
  readonly back: () => Promise<WishAnswer>;
};
