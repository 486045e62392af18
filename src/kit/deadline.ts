/**
 * A deadline that is moved at every step and reached hardly ever: moving it makes no timer as long as one is running that
 * fires before it.
 */
export class Deadline {
  readonly #run: () => void;
  #atMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(run: () => void) {
    this.#run = run;
  }

  /** From now on, in place of what was set before. */
  set(ms: number): void {
    this.#atMs = performance.now() + ms;
    if (this.#atMs < this.#timerAtMs) this.#start(ms);
  }

  /** There is none; a timer that runs finds nothing to do. */
  clear(): void {
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  /** The same, and no timer is left. */
  end(): void {
    this.clear();
    clearTimeout(this.#timer);
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  #start(ms: number): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = this.#atMs;
    this.#timer = setTimeout(() => this.#fired(), ms);
  }

  #fired(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    if (this.#atMs === Number.POSITIVE_INFINITY) return;
    const leftMs = this.#atMs - performance.now();
    // Timers fire in whole milliseconds, at times a fraction early.
    if (leftMs > 1) return this.#start(leftMs);
    this.clear();
    this.#run();
  }
}
