/**
 * The sending half of a stream: holds what was written until it is acknowledged, hands out what to
 * send next (lost ranges before new data), and forgets from the front.
 *
 *     base            next                end
 *      | acked or in flight | not sent yet |
 */

import { type NumberCell, numberCell } from "../base/number_field.ts";
import { ByteRing } from "./byte_ring.ts";
import { Intervals } from "./intervals.ts";
import { STREAM_UNSENT_MAX, STREAM_UNSENT_SURE } from "./limits.ts";
import type { Share } from "./share.ts";

/** Ranges that one stream may have lost, or acknowledged out of order, at a time. */
const RANGES_MAX = 4096;
/** Not worth growing a ring for. */
const SCRAP_BYTES = 1024;

// One thread, no re-entry: what is picked is written before anything else is picked.
const picked = numberCell();

export class SendBuffer {
  readonly #share: Share;
  readonly #ring: ByteRing;
  readonly #acked = new Intervals(RANGES_MAX);
  readonly #lost = new Intervals(RANGES_MAX);
  readonly #max: number;
  #base = 0;
  #next = 0;
  #end = 0;
  #finished = false;
  #finSent = false;
  #finAcked = false;
  /** The peer takes offsets below this. */
  limit: number;
  /** What `pick` chose. */
  readonly pickedOffset: NumberCell = picked;
  pickedLength = 0;
  pickedIsNew = false;

  /** Holds at most `max` unacknowledged bytes; `limit` is the peer's first MAX_STREAM. */
  constructor(share: Share, max: number, limit: number) {
    this.#share = share;
    this.#ring = new ByteRing(share);
    this.#max = max;
    this.limit = limit;
  }

  get end(): number {
    return this.#end;
  }

  get unacked(): number {
    return this.#end - this.#base;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Everything that was written, and the end, has arrived. */
  get isDone(): boolean {
    return this.#finAcked && this.#base === this.#end;
  }

  /** Bytes of memory that it holds. */
  get capacity(): number {
    return this.#ring.capacity;
  }

  /** Room that `write` has now, memory aside. */
  get room(): number {
    const share = this.#share;
    if (this.#finished || share.isSilent) return 0;
    const unsent = this.#end - this.#next;
    const ahead = Math.min(STREAM_UNSENT_MAX - unsent, share.readAhead - share.unsent);
    return Math.min(this.#max - this.unacked, Math.max(STREAM_UNSENT_SURE - unsent, ahead));
  }

  /** Takes as much as there is room for; how much that was. */
  write(bytes: Uint8Array, at: number, length: number): number {
    const wanted = Math.min(length, this.room);
    if (wanted <= 0) return 0;
    // Where the share does not give that much, less, down to what the ring holds anyway.
    let asked = wanted;
    while (
      asked > SCRAP_BYTES && !this.#ring.reserve(this.#base, this.#end + asked, this.#end)
    ) asked >>= 1;
    if (asked <= SCRAP_BYTES) this.#ring.reserve(this.#base, this.#end + asked, this.#end);
    const accepted = Math.min(wanted, this.#ring.capacity - this.unacked);
    if (accepted <= 0) return 0;
    this.#ring.put(this.#end | 0, bytes, at, accepted);
    this.#end += accepted;
    this.#share.unsent += accepted;
    return accepted;
  }

  /** Nothing more will be written. */
  finish(): void {
    this.#finished = true;
  }

  get hasWork(): boolean {
    return !this.#lost.isEmpty || this.hasNew || this.wantsFin;
  }

  /** New data that the peer's limit lets through. */
  get hasNew(): boolean {
    return this.#next < Math.min(this.#end, this.limit);
  }

  /** New data there is, and the peer's limit stops it. */
  get isBlocked(): boolean {
    return this.#next < this.#end && this.#next >= this.limit;
  }

  /** The FIN frame is to be sent (again): all data was sent at least once. */
  get wantsFin(): boolean {
    return this.#finished && !this.#finSent && this.#next === this.#end;
  }

  /** Notes where what is to be sent next begins, lost or new, in `pickedOffset`. Then `pick`. */
  aim(): void {
    this.pickedIsNew = this.#lost.isEmpty;
    this.pickedOffset[0] = this.pickedIsNew ? this.#next : this.#lost.start(0);
  }

  /**
   * Chooses at most `room` bytes to send from there, `newRoom` of them new ones (the session's
   * credit). False: nothing to send.
   */
  pick(room: number, newRoom: number): boolean {
    const end = this.pickedIsNew ? Math.min(this.#end, this.limit) : this.#lost.end(0);
    const most = this.pickedIsNew ? Math.min(room, newRoom) : room;
    this.pickedLength = Math.min(most, end - this.pickedOffset[0]!);
    return this.pickedLength > 0;
  }

  /** Writes what was picked, and counts it as sent. */
  takePicked(to: Uint8Array, at: number): void {
    const offset = this.pickedOffset[0]!;
    this.#ring.take(offset | 0, to, at, this.pickedLength);
    if (this.pickedIsNew) {
      this.#next = offset + this.pickedLength;
      this.#share.unsent -= this.pickedLength;
    } else this.#lost.remove(offset, offset + this.pickedLength);
  }

  finSent(): void {
    this.#finSent = true;
  }

  acked(at: NumberCell, length: number): void {
    // The usual case: in order. Apart from the others, or their calls cost it an object for each
    // offset that they are given.
    if (this.#acked.isEmpty && this.#lost.isEmpty && at[0]! <= this.#base) {
      this.#base = Math.max(this.#base, at[0]! + length);
      this.#trim();
    } else this.#ackedAmongHoles(at, length);
  }

  #ackedAmongHoles(at: NumberCell, length: number): void {
    const offset = at[0]!;
    const end = offset + length;
    if (end <= this.#base) return;
    // Too many holes: then it is as if this acknowledgement had been lost.
    if (!this.#acked.add(Math.max(offset, this.#base), end)) return;
    this.#lost.remove(offset, end);
    const base = this.#acked.endOfRangeAt(this.#base);
    if (base === this.#base) return;
    this.#acked.remove(this.#base, base);
    this.#base = base;
    this.#trim();
  }

  #trim(): void {
    if (this.#base === this.#end) this.#ring.release();
    else if (this.#ring.isWide(this.#end - this.#base)) this.#ring.trim(this.#base, this.#end);
  }

  lost(at: NumberCell, length: number): void {
    const offset = at[0]!;
    const start = Math.max(offset, this.#base);
    const end = offset + length;
    if (start >= end) return;
    if (!this.#lost.add(start, end)) {
      // Too many holes: all from the first of them on is sent again.
      const first = Math.min(start, this.#lost.start(0));
      this.#lost.clear();
      this.#lost.add(first, this.#next);
    }
    const acked = this.#acked;
    for (let i = acked.firstEndingAt(start); i < acked.count && acked.start(i) < end; i++) {
      this.#lost.remove(acked.start(i), acked.end(i));
    }
  }

  finAcked(): void {
    this.#finAcked = true;
  }

  finLost(): void {
    if (!this.#finAcked) this.#finSent = false;
  }

  /**
   * RST: drops the data. What is still said is the FIN, at the offset that new data had reached:
   * the peer counts the rest as consumed, or its limits for the session would shrink for good.
   */
  abandon(): void {
    this.release();
    this.#base = this.#next;
    this.#finSent = false;
    this.#finished = true;
  }

  /** Gives all memory back; nothing can be sent any more. */
  release(): void {
    this.#ring.release();
    this.#share.unsent -= this.#end - this.#next;
    this.#end = this.#next;
    this.#lost.clear();
    this.#acked.clear();
  }
}
