// The receiver's side of acknowledgement: which numbers arrived, and when to say so.

import { Rows } from "../base/rows.ts";
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
const rows = new Rows(2 * ROOM_MIN, 8, (length) => new Float64Array(length));
const NO_ROW = -1;
const NO_RANGES = new Float64Array(0);

/**
 * Ranges of received packet numbers, at most ACK_RANGES_MAX: beyond that the oldest goes, and
 * what is below the oldest kept counts as seen.
 */
export class ReceivedNumbers {
  /** Ascending pairs (smallest, largest) of disjoint ranges with a gap between neighbours ... */
  #ranges = NO_RANGES;
  /** ... from here on, in a row while there is room for them. */
  #from = 0;
  #row = NO_ROW;
  #count = 0;
  #floor = 0;
  #largestTime = 0;
  #unacked = 0;
  #ackAt = Infinity;
  #ackOnly = 0;
  /** Ranges that went because there were too many. */
  rangesDropped = 0;

  get largest(): number {
    return this.#count === 0 ? -1 : this.#ranges[this.#from + 2 * this.#count - 1]!;
  }

  /**
   * Takes a packet's number. `eliciting`: it holds more than ACK and PADDING. False: seen before,
   * or too old to say; such a packet is to be dropped.
   */
  insert(now: number, number: number, eliciting: boolean): boolean {
    const before = this.largest;
    if (number === before + 1 && this.#count > 0) {
      this.#ranges[this.#from + 2 * this.#count - 1] = number;
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
      const from = this.#from + 2 * (this.#count - 1 - i);
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
    const from = this.#from;
    while (drop < this.#count - 1 && this.#ranges[from + 2 * drop + 1]! <= largest) drop += 1;
    this.#dropOldest(drop);
  }

  /** Nothing will come any more: the memory goes to others. */
  release(): void {
    if (this.#row !== NO_ROW) rows.give(this.#row);
    this.#row = NO_ROW;
    this.#ranges = NO_RANGES;
    this.#from = this.#count = 0;
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
    let at = this.#from + 2 * i;
    for (; i >= 0 && ranges[at]! > number; i -= 1) at -= 2;
    // Now range i begins at or before the number, and i + 1 after it.
    if (i >= 0 && number <= ranges[at + 1]!) return false;
    const joinsLower = i >= 0 && ranges[at + 1]! === number - 1;
    const joinsUpper = i + 1 < this.#count && ranges[at + 2]! === number + 1;
    if (joinsLower && joinsUpper) {
      ranges[at + 1] = ranges[at + 3]!;
      ranges.copyWithin(at + 2, at + 4, this.#from + 2 * this.#count);
      this.#count -= 1;
    } else if (joinsLower) {
      ranges[at + 1] = number;
    } else if (joinsUpper) {
      ranges[at + 2] = number;
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
    } else if (2 * this.#count === this.#room) {
      this.#grow();
    }
    const ranges = this.#ranges;
    const from = this.#from + 2 * at;
    ranges.copyWithin(from + 2, from, this.#from + 2 * this.#count);
    ranges[from] = number;
    ranges[from + 1] = number;
    this.#count += 1;
    return true;
  }

  get #room(): number {
    return this.#row === NO_ROW ? this.#ranges.length : rows.length;
  }

  #grow(): void {
    if (this.#ranges === NO_RANGES) {
      this.#row = rows.take();
      this.#ranges = rows.block(this.#row);
      this.#from = rows.at(this.#row);
      return;
    }
    const room = this.#room;
    const larger = new Float64Array(2 * room);
    for (let i = 0; i < room; i++) larger[i] = this.#ranges[this.#from + i]!;
    if (this.#row !== NO_ROW) rows.give(this.#row);
    this.#ranges = larger;
    this.#from = 0;
    this.#row = NO_ROW;
  }

  #dropOldest(count: number): void {
    if (count === 0) return;
    const from = this.#from;
    this.#floor = this.#ranges[from + 2 * count - 1]! + 1;
    this.#ranges.copyWithin(from, from + 2 * count, from + 2 * this.#count);
    this.#count -= count;
  }
}
