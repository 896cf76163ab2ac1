// Round-trip estimation of one path: RFC 9002 §5, with a minimum that forgets.

import {
  GRANULARITY_MS,
  INITIAL_RTT_MS,
  MAX_ACK_DELAY_MS,
  RTT_MIN_WINDOW_MS,
  TIME_THRESHOLD,
} from "./params.ts";

/** All in milliseconds. Before the first sample it holds RFC 9002's guesses. */
export class RttEstimator {
  sampled = false;
  latest = 0;
  smoothed = INITIAL_RTT_MS;
  variance = INITIAL_RTT_MS / 2;
  #minNow = Infinity;
  #minBefore = Infinity;
  #windowStart = -Infinity;

  /** The smallest round trip of the last 30 to 60 s; 0 before the first sample. */
  get min(): number {
    const min = Math.min(this.#minNow, this.#minBefore);
    return min === Infinity ? 0 : min;
  }

  /** Takes a sample; `ackDelay` is what the peer says it waited, believed up to the maximum. */
  update(now: number, sample: number, ackDelay: number): void {
    // A clock of coarse ticks may show nothing at all on a fast path.
    const rtt = Math.max(sample, 0.001);
    this.latest = rtt;
    this.#updateMin(now, rtt);
    if (!this.sampled) {
      this.sampled = true;
      this.smoothed = rtt;
      this.variance = rtt / 2;
      return;
    }
    const delay = Math.min(Math.max(ackDelay, 0), MAX_ACK_DELAY_MS);
    const adjusted = rtt >= this.min + delay ? rtt - delay : rtt;
    this.variance = 0.75 * this.variance + 0.25 * Math.abs(this.smoothed - adjusted);
    this.smoothed = 0.875 * this.smoothed + 0.125 * adjusted;
  }

  /** Probe timeout without backoff. */
  pto(): number {
    return this.smoothed + Math.max(4 * this.variance, GRANULARITY_MS) + MAX_ACK_DELAY_MS;
  }

  /** How much older than an acknowledged packet a lost one is. */
  lossDelay(): number {
    return Math.max(TIME_THRESHOLD * Math.max(this.smoothed, this.latest), GRANULARITY_MS);
  }

  #updateMin(now: number, rtt: number): void {
    const age = now - this.#windowStart;
    if (age >= RTT_MIN_WINDOW_MS) {
      this.#minBefore = age >= 2 * RTT_MIN_WINDOW_MS ? Infinity : this.#minNow;
      this.#minNow = Infinity;
      this.#windowStart = now;
    }
    if (rtt < this.#minNow) this.#minNow = rtt;
  }
}
