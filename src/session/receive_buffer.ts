/**
 * The receiving half of a stream: puts bytes back in order and holds them until the reader takes
 * them. Data that comes in order, with nothing held back, never gets copied here: the session hands
 * it on from the packet.
 *
 *     base                 limit
 *      | in order | holes …  |
 */

import { type Budget, ByteRing } from "./byte_ring.ts";
import { Intervals } from "./intervals.ts";

const RANGES_MAX = 1024;

export const Received = {
  /** New bytes (or none), kept or to be handed on. */
  ok: 0,
  /** Beyond the limit we gave, or contradicting the final size: ends the session. */
  violation: 1,
  /** No room now: as if the packet had been lost, so it must not be acknowledged. */
  refused: 2,
} as const;

export class ReceiveBuffer {
  readonly #ring: ByteRing;
  readonly #held = new Intervals(RANGES_MAX);
  #base = 0;
  #highest = 0;
  #final = Infinity;
  /** The peer may send offsets below this. */
  limit: number;

  constructor(budget: Budget, limit: number) {
    this.#ring = new ByteRing(budget);
    this.limit = limit;
  }

  /** Offset of the next byte for the reader. */
  get base(): number {
    return this.#base;
  }

  /** The highest offset received, which is what counts against the session's limit. */
  get highest(): number {
    return this.#highest;
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

  /** Checks the limits before anything is kept, and notes the highest offset. */
  admit(offset: number, length: number): number {
    const end = offset + length;
    if (end > this.limit || end > this.#final) return Received.violation;
    if (end > this.#highest) this.#highest = end;
    return Received.ok;
  }

  /** The reader took `length` bytes straight from a packet (`isNext`). */
  advance(length: number): void {
    this.#base += length;
  }

  /** Keeps admitted bytes for later. */
  keep(offset: number, from: Uint8Array, at: number, length: number): number {
    let start = offset;
    let skip = 0;
    if (start < this.#base) {
      skip = this.#base - start;
      if (skip >= length) return Received.ok;
      start = this.#base;
    }
    const end = offset + length;
    const storedEnd = this.#held.isEmpty ? this.#base : this.#held.end(this.#held.count - 1);
    if (!this.#ring.reserve(this.#base, Math.max(end, storedEnd), storedEnd)) {
      return Received.refused;
    }
    if (!this.#held.add(start, end)) return Received.refused;
    this.#ring.put(start, from, at + skip, length - skip);
    return Received.ok;
  }

  /** The FIN: the stream ends at this offset. */
  finish(final: number): number {
    if (final < this.#highest || (this.#final !== Infinity && this.#final !== final)) {
      return Received.violation;
    }
    this.#final = final;
    return Received.ok;
  }

  /** Where the next readable bytes lie, as one piece of at most `contiguous` bytes. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#ring.memory;
  }

  get index(): number {
    return this.#ring.indexOf(this.#base);
  }

  get contiguous(): number {
    return Math.min(this.readable, this.#ring.contiguous(this.#base));
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
