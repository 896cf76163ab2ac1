/** Pauses between attempts to connect, which grow with each failure. */

const PAUSES_MS: readonly number[] = [1000, 2000, 4000, 8000, 16_000, 30_000];

export class Pauses {
  /** When the next attempt may begin. */
  notBefore = -Infinity;
  readonly #pausesMs: readonly number[];
  /** Attempts in a row that failed. */
  #failures = 0;

  constructor(pausesMs: readonly number[] = PAUSES_MS) {
    this.#pausesMs = pausesMs;
  }

  /** An attempt failed, or a session was lost: the next one waits longer than the one before. */
  begin(now: number): void {
    this.#pause(now, this.#failures);
    this.#failures++;
  }

  /**
   * The server has answered, and lets us in no more: whoever asks again is to be told so, or let
   * in, without a long wait.
   */
  refused(now: number): void {
    this.#failures = 0;
    this.#pause(now, 0);
  }

  #pause(now: number, failures: number): void {
    const pauses = this.#pausesMs;
    this.notBefore = now + (pauses[Math.min(failures, pauses.length - 1)] ?? 0);
  }

  /** An attempt succeeded. */
  end(): void {
    this.#failures = 0;
    this.notBefore = -Infinity;
  }
}
