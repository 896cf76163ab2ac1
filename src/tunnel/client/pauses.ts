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
    const pauses = this.#pausesMs;
    this.notBefore = now + (pauses[Math.min(this.#failures, pauses.length - 1)] ?? 0);
    this.#failures++;
  }

  /** An attempt succeeded. */
  end(): void {
    this.#failures = 0;
    this.notBefore = -Infinity;
  }
}
