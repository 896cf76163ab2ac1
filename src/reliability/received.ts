// The receiver's side of acknowledgement: which numbers arrived, and when to say so.

import {
  ACK_EVERY_PACKETS,
  ACK_ONLY_PACKETS_MAX,
  ACK_RANGES_MAX,
  MAX_ACK_DELAY_MS,
} from "./params.ts";

/** Length a list for {@linkcode ReceivedNumbers.fill} needs. */
export const ACK_LIST_LENGTH = 2 * ACK_RANGES_MAX;

/** First room for ranges: most sessions never see more than one. */
const ROOM_MIN = 4;
const NO_RANGES = new Float64Array(0);

/**
 * Ranges of received packet numbers, at most ACK_RANGES_MAX: beyond that the oldest goes, and
 * what is below the oldest kept counts as seen.
 */
export class ReceivedNumbers {
  /** Ascending pairs (smallest, largest) of disjoint ranges with a gap between neighbours. */
  #ranges = NO_RANGES;
  #count = 0;
  #floor = 0;
  #largestTime = 0;
  #unacked = 0;
  #ackAt = Infinity;
  #ackOnly = 0;
  /** Ranges that went because there were too many. */
  rangesDropped = 0;

  get largest(): number {
    return this.#count === 0 ? -1 : this.#ranges[2 * this.#count - 1]!;
  }

  /**
   * Takes a packet's number. `eliciting`: it holds more than ACK and PADDING. False: seen before,
   * or too old to say; such a packet is to be dropped.
   */
  insert(now: number, number: number, eliciting: boolean): boolean {
    const before = this.largest;
    if (number === before + 1 && this.#count > 0) {
      this.#ranges[2 * this.#count - 1] = number;
    } else if (number > before) {
      this.#insertAt(this.#count, number);
    } else if (!this.#insertBelow(number)) {
      return false;
    }
    if (number > before) this.#largestTime = now;
    if (eliciting) this.#schedule(now, number !== before + 1);
    return true;
  }

  /** Whether an ACK has to go out now. */
  ackDue(now: number): boolean {
    return this.#ackAt <= now;
  }

  /** Whether there is anything new to acknowledge, to put beside other frames. */
  get ackWaiting(): boolean {
    return this.#ackAt !== Infinity;
  }

  /** When {@linkcode ackDue} turns true; Infinity: not before the next packet. */
  nextTimeout(): number {
    return this.#ackAt;
  }

  /** How long the largest number has been here. */
  ackDelay(now: number): number {
    return Math.max(0, now - this.#largestTime);
  }

  /** Writes (smallest, largest) pairs, largest range first, and returns how many. */
  fill(list: Float64Array): number {
    const count = Math.min(this.#count, list.length >> 1);
    for (let i = 0; i < count; i++) {
      const from = 2 * (this.#count - 1 - i);
      list[2 * i] = this.#ranges[from]!;
      list[2 * i + 1] = this.#ranges[from + 1]!;
    }
    return count;
  }

  /** An ACK was sent; `eliciting`: in a packet that itself asks for one. */
  onAckSent(eliciting: boolean): void {
    this.#unacked = 0;
    this.#ackAt = Infinity;
    this.#ackOnly = eliciting ? 0 : this.#ackOnly + 1;
  }

  /** Whether the next ACK should carry a PING, since many ranges are waiting for an answer. */
  wantsPing(): boolean {
    return this.#ackOnly >= ACK_ONLY_PACKETS_MAX && this.#count > 1;
  }

  /** The peer has an ACK whose largest number was this: what is below need not be said again. */
  onAckAcked(largest: number): void {
    let drop = 0;
    while (drop < this.#count - 1 && this.#ranges[2 * drop + 1]! <= largest) drop += 1;
    this.#dropOldest(drop);
  }

  #schedule(now: number, outOfOrder: boolean): void {
    this.#unacked += 1;
    if (outOfOrder || this.#unacked >= ACK_EVERY_PACKETS) this.#ackAt = now;
    else if (this.#ackAt === Infinity) this.#ackAt = now + MAX_ACK_DELAY_MS;
  }

  /** Below the largest: grows a range, joins two, or makes one. */
  #insertBelow(number: number): boolean {
    if (number < this.#floor) return false;
    const ranges = this.#ranges;
    let i = this.#count - 1;
    while (i >= 0 && ranges[2 * i]! > number) i -= 1;
    // Now range i begins at or before the number, and i + 1 after it.
    if (i >= 0 && number <= ranges[2 * i + 1]!) return false;
    const joinsLower = i >= 0 && ranges[2 * i + 1]! === number - 1;
    const joinsUpper = i + 1 < this.#count && ranges[2 * i + 2]! === number + 1;
    if (joinsLower && joinsUpper) {
      ranges[2 * i + 1] = ranges[2 * i + 3]!;
      ranges.copyWithin(2 * i + 2, 2 * i + 4, 2 * this.#count);
      this.#count -= 1;
    } else if (joinsLower) {
      ranges[2 * i + 1] = number;
    } else if (joinsUpper) {
      ranges[2 * i + 2] = number;
    } else {
      return this.#insertAt(i + 1, number);
    }
    return true;
  }

  #insertAt(index: number, number: number): boolean {
    let at = index;
    if (this.#count === ACK_RANGES_MAX) {
      if (at === 0) return false;
      this.rangesDropped += 1;
      this.#dropOldest(1);
      at -= 1;
    } else if (2 * this.#count === this.#ranges.length) {
      const larger = new Float64Array(Math.max(2 * ROOM_MIN, 2 * this.#ranges.length));
      larger.set(this.#ranges);
      this.#ranges = larger;
    }
    this.#ranges.copyWithin(2 * at + 2, 2 * at, 2 * this.#count);
    this.#ranges[2 * at] = number;
    this.#ranges[2 * at + 1] = number;
    this.#count += 1;
    return true;
  }

  #dropOldest(count: number): void {
    if (count === 0) return;
    this.#floor = this.#ranges[2 * count - 1]! + 1;
    this.#ranges.copyWithin(0, 2 * count, 2 * this.#count);
    this.#count -= count;
  }
}
