/**
 * A worker's side of the filters' questions to the keeper: those of one turn of the loop go in one line. What is not
 * answered in time is rejected, and its filter's failure has its meaning in the configuration.
 */
import type { Inquiry, InquiryAnswer } from './inquiry.ts';
import { MAX_BATCH, type ToKeeper } from './language.ts';

export const INQUIRY_TIMEOUT_MS = 250;

type Open = { readonly resolve: (answer: InquiryAnswer) => void; readonly reject: (error: Error) => void };

export class Inquirer {
  readonly #say: (message: ToKeeper) => boolean;
  readonly #open = new Map<number, Open>();
  #unsent: { readonly ask: number; readonly inquiry: Inquiry }[] = [];
  #last = 0;

  constructor(say: (message: ToKeeper) => boolean) {
    this.#say = say;
  }

  ask(inquiry: Inquiry, keeperIsUp: boolean): Promise<InquiryAnswer> {
    if (!keeperIsUp) return Promise.reject(new Error('the keeper is away'));
    return new Promise((resolve, reject) => {
      const ask = ++this.#last;
      this.#open.set(ask, { resolve, reject });
      if (this.#unsent.length === 0) setImmediate(() => this.#send());
      this.#unsent.push({ ask, inquiry });
    });
  }

  answered(ask: number, answer: InquiryAnswer): void {
    this.#open.get(ask)?.resolve(answer);
    this.#open.delete(ask);
  }

  /** The keeper has gone. */
  down(): void {
    this.#unsent = [];
    this.#fail([...this.#open.keys()], 'the keeper is away');
  }

  #send(): void {
    const all = this.#unsent;
    this.#unsent = [];
    for (let at = 0; at < all.length; at += MAX_BATCH) {
      const asks = all.slice(at, at + MAX_BATCH);
      const numbers = asks.map(({ ask }) => ask);
      if (this.#say({ kind: 'inquire', asks }))
        setTimeout(
          () => this.#fail(numbers, `the keeper did not answer within ${INQUIRY_TIMEOUT_MS} ms`),
          INQUIRY_TIMEOUT_MS,
        );
      else this.#fail(numbers, 'the keeper is away');
    }
  }

  #fail(asks: readonly number[], why: string): void {
    for (const ask of asks) {
      this.#open.get(ask)?.reject(new Error(why));
      this.#open.delete(ask);
    }
  }
}
