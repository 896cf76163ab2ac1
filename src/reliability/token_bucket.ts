// A limit in bytes a second that holds whatever the other side claims: of a user, of a direction.

/** Debt is kept up to this many seconds of the rate: a burst is paid for, but not for ever. */
const DEBT_SECONDS_MAX = 10;

/** Time is in milliseconds; a rate of 0 is no limit. */
export class TokenBucket {
  #rate: number;
  #burst: number;
  #tokens: number;
  #last = -Infinity;
  /** Bytes that were refused. */
  refusedBytes = 0;

  /** `burst` is what may come at once, by default a quarter of a second. */
  constructor(rate: number, burst: number = rate / 4) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
  }

  get unlimited(): boolean {
    return this.#rate === 0;
  }

  /** Takes the bytes and returns true, or takes nothing. */
  take(now: number, bytes: number): boolean {
    if (this.#rate === 0) return true;
    this.#refill(now);
    // More than the bucket holds may go when it is full, and leaves a debt.
    if (this.#tokens < Math.min(bytes, this.#burst)) {
      this.refusedBytes += bytes;
      return false;
    }
    this.#tokens -= bytes;
    return true;
  }

  /** Counts bytes that have already come; what is too much delays the next ones. */
  charge(now: number, bytes: number): void {
    if (this.#rate === 0) return;
    this.#refill(now);
    this.#tokens = Math.max(this.#tokens - bytes, -DEBT_SECONDS_MAX * this.#rate);
  }

  /** Bytes that may go now without a debt. */
  available(now: number): number {
    if (this.#rate === 0) return Infinity;
    this.#refill(now);
    return Math.max(0, this.#tokens);
  }

  /** When so many bytes may go. */
  next(now: number, bytes: number): number {
    if (this.#rate === 0) return now;
    this.#refill(now);
    const missing = Math.min(bytes, this.#burst) - this.#tokens;
    return missing <= 0 ? now : now + missing / this.#rate * 1000;
  }

  /** A new limit from now on; what was saved or owed stays, up to the new burst. */
  setRate(now: number, rate: number, burst: number = rate / 4): void {
    const wasUnlimited = this.#rate === 0;
    if (!wasUnlimited) this.#refill(now);
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = wasUnlimited ? burst : Math.min(this.#tokens, burst);
    this.#last = now;
  }

  #refill(now: number): void {
    if (this.#last === -Infinity) this.#last = now;
    const earned = Math.max(0, now - this.#last) * this.#rate / 1000;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned);
    this.#last = Math.max(this.#last, now);
  }
}
