/** One look of one filter: whoever takes his time asks for the signal that tells him to stop. */
export class Call {
  #abort: AbortController | undefined;
  #isOver = false;

  /** Made when it is first asked for: most filters answer at once and need none. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#isOver) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** Its time is over. */
  end(): void {
    this.#isOver = true;
    this.#abort?.abort();
  }
}
