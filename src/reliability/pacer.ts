// Spreads packets over time in bursts that a GSO batch can carry.

import {
  PACING_BURST_MS_MAX,
  PACING_BURST_MS_MIN,
  PACING_BURST_PACKETS,
  PACING_BURST_PACKETS_MIN,
  PACING_DELAY_MS_MIN,
  PACING_LATE_GAIN,
  PACING_LATE_MS_MAX,
} from "./params.ts";

/** Largest burst for a rate in bytes a second. */
export function burstBytes(rate: number, packetBytes: number): number {
  const batch = Math.min(PACING_BURST_PACKETS * packetBytes, rate * PACING_BURST_MS_MAX / 1000);
  const least = Math.max(PACING_BURST_PACKETS_MIN * packetBytes, rate * PACING_BURST_MS_MIN / 1000);
  return Math.max(batch, least);
}

/**
 * A bucket of bytes that fills at the pacing rate. An unlimited rate is Infinity.
 *
 * What a sender that waits for its turn earns beyond a burst, since it was woken late, is kept
 * aside and flows into the bucket faster than it fills otherwise. What nobody waited for is lost.
 */
export class Pacer {
  #budget = Infinity;
  #late = 0;
  #last = 0;
  #isWaiting = false;

  /** Whether a packet of so many bytes may go now. */
  ready(now: number, rate: number, packetBytes: number): boolean {
    if (rate === Infinity) return true;
    this.#refill(now, rate, packetBytes);
    // A thousandth of a byte: sums of fractions must not cost a wake-up.
    return this.#budget >= packetBytes - 0.001;
  }

  /** When the next packet, which waits, may go: not at once, so that batches form. */
  next(now: number, rate: number, packetBytes: number): number {
    if (this.ready(now, rate, packetBytes)) return now;
    this.#isWaiting = true;
    const wait = (packetBytes - this.#budget) / rate * 1000;
    return now + Math.max(wait, PACING_DELAY_MS_MIN);
  }

  /** Nothing waits for its turn any more: time that passes from here on earns a burst at most. */
  rest(): void {
    this.#isWaiting = false;
    this.#late = 0;
  }

  /** A packet went; one that may not wait, like a probe, leaves a debt. */
  onSent(now: number, rate: number, bytes: number, packetBytes: number): void {
    if (rate === Infinity) return;
    this.#refill(now, rate, packetBytes);
    const debtMax = Math.max(bytes, burstBytes(rate, packetBytes));
    this.#budget = Math.max(this.#budget - bytes, -debtMax);
  }

  #refill(now: number, rate: number, packetBytes: number): void {
    const earned = Math.max(0, now - this.#last) * rate / 1000;
    this.#last = Math.max(this.#last, now);
    const burst = burstBytes(rate, packetBytes);
    const extra = Math.min(this.#late, (PACING_LATE_GAIN - 1) * earned);
    const budget = this.#budget + earned + extra;
    this.#budget = Math.min(burst, budget);
    if (!this.#isWaiting) return;
    const late = this.#late - extra + budget - this.#budget;
    this.#late = Math.min(late, rate * PACING_LATE_MS_MAX / 1000);
  }
}
