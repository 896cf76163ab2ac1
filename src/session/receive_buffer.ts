/**
 * The receiving half of a stream: puts bytes back in order and holds them until the reader takes
 * them. Data that comes in order, with nothing held back, never gets copied here: the session hands
 * it on from the packet.
 *
 *     base                 limit
 *      | in order | holes …  |
 */

import type { NumberCell } from "../base/number_field.ts";
import type { Budget } from "./budget.ts";
import { ByteRing } from "./byte_ring.ts";
import { Intervals } from "./intervals.ts";

const RANGES_MAX = 1024;

export class ReceiveBuffer {
  readonly #ring: ByteRing;
  readonly #held = new Intervals(RANGES_MAX);
  #base = 0;
  #highest = 0;
  #final = Infinity;

  constructor(budget: Budget) {
    this.#ring = new ByteRing(budget);
  }

  /** Offset of the next byte for the reader. */
  get base(): number {
    return this.#base;
  }

  /** Bytes that the reader can have now. */
  get readable(): number {
    return this.#held.endOfRangeAt(this.#base) - this.#base;
  }

  /** The reader has had everything up to the peer's FIN. */
  get isDone(): boolean {
    return this.#base === this.#final;
  }

  get final(): number {
    return this.#final;
  }

  /** Whether bytes at this offset can go straight to the reader. */
  isNext(offset: number): boolean {
    return offset === this.#base && this.#held.isEmpty;
  }

  /** Whether data up to `end` fits what the peer said of the stream's end; notes it. */
  admits(end: NumberCell): boolean {
    if (end[0]! > this.#final) return false;
    if (end[0]! > this.#highest) this.#highest = end[0]!;
    return true;
  }

  /** The reader took `length` bytes straight from a packet (`isNext`). */
  advance(length: number): void {
    this.#base += length;
  }

  /** Keeps admitted bytes for later. False: no room; nothing was kept. */
  keep(offset: number, from: Uint8Array, at: number, length: number): boolean {
    if (length === 0) return true;
    let start = offset;
    let skip = 0;
    if (start < this.#base) {
      skip = this.#base - start;
      if (skip >= length) return true;
      start = this.#base;
    }
    const end = offset + length;
    const storedEnd = this.#held.isEmpty ? this.#base : this.#held.end(this.#held.count - 1);
    if (!this.#ring.reserve(this.#base, Math.max(end, storedEnd), storedEnd)) return false;
    if (!this.#held.add(start, end)) return false;
    this.#ring.put(start | 0, from, at + skip, length - skip);
    return true;
  }

  /** The FIN: the stream ends at this offset. False: that contradicts what came before. */
  finish(final: number): boolean {
    if (final < this.#highest || (this.#final !== Infinity && this.#final !== final)) return false;
    this.#final = final;
    return true;
  }

  /** Where the next readable bytes lie, as one piece of at most `contiguous` bytes. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#ring.memory;
  }

  get index(): number {
    return this.#ring.indexOf(this.#base | 0);
  }

  get contiguous(): number {
    return Math.min(this.readable, this.#ring.contiguous(this.#base | 0));
  }

  /** The reader has taken `length` of the readable bytes. */
  consume(length: number): void {
    this.#held.remove(this.#base, this.#base + length);
    this.#base += length;
    if (this.#held.isEmpty) this.#ring.release();
  }

  release(): void {
    this.#ring.release();
    this.#held.clear();
  }
}
