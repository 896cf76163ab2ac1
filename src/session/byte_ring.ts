/**
 * Bytes of a stream, addressed by their stream offset: a ring that grows as needed up to a maximum,
 * in a block of memory of the budget that all streams share, and gives it back when it is empty.
 *
 * Its size is a power of two, so that of an offset its lowest 32 bits will do (`offset | 0`).
 */

import { Budget } from "./budget.ts";
import type { Share } from "./share.ts";

export { Budget };

/** A ring of which little is used, and that is larger than this, is made smaller. */
const TRIM_BYTES = 64 << 10;

export class ByteRing {
  readonly #share: Share;
  /** Where its block begins in the budget's memory, and its size; 0: it has none. */
  #block = 0;
  #size = 0;

  constructor(share: Share) {
    this.#share = share;
  }

  get capacity(): number {
    return this.#size;
  }

  /**
   * Makes room for [base, end), keeping what is stored there. False: the share is spent, nothing
   * changed.
   */
  reserve(base: number, end: number, storedEnd: number): boolean {
    const need = end - base;
    if (need <= this.#size) return true;
    return this.#resize(Budget.blockBytes(need), base, storedEnd);
  }

  /** Whether it is far larger than what it holds. */
  isWide(bytes: number): boolean {
    return this.#size > TRIM_BYTES && 8 * bytes <= this.#size;
  }

  /** Gives back what [base, storedEnd) does not need, twice as much aside. */
  trim(base: number, storedEnd: number): void {
    const size = Budget.blockBytes(2 * (storedEnd - base));
    if (size < this.#size) this.#resize(size, base, storedEnd);
  }

  #resize(size: number, base: number, storedEnd: number): boolean {
    const block = this.#share.take(size, this.#size);
    if (block < 0) return false;
    const oldBlock = this.#block;
    const oldSize = this.#size;
    this.#block = block;
    this.#size = size;
    if (oldSize === 0) return true;
    const { memory } = this.#share;
    for (let at = base; at < storedEnd;) {
      const from = at & (oldSize - 1);
      const to = at & (size - 1);
      const length = Math.min(storedEnd - at, oldSize - from, size - to);
      memory.copyWithin(block + to, oldBlock + from, oldBlock + from + length);
      at += length;
    }
    this.#share.give(oldBlock, oldSize);
    return true;
  }

  /** Stores bytes at a stream offset for which there is room. */
  put(offset: number, from: Uint8Array, at: number, length: number): void {
    const to = offset & (this.#size - 1);
    const first = Math.min(length, this.#size - to);
    const { memory } = this.#share;
    copy(memory, this.#block + to, from, at, first);
    if (first < length) copy(memory, this.#block, from, at + first, length - first);
  }

  /** Copies bytes at a stream offset out. */
  take(offset: number, to: Uint8Array, at: number, length: number): void {
    const from = offset & (this.#size - 1);
    const first = Math.min(length, this.#size - from);
    const { memory } = this.#share;
    copy(to, at, memory, this.#block + from, first);
    if (first < length) copy(to, at + first, memory, this.#block, length - first);
  }

  /** The memory, for a reader that can't wait for a copy. With `indexOf` and `contiguous`. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#share.memory;
  }

  indexOf(offset: number): number {
    return this.#block + (offset & (this.#size - 1));
  }

  /** Bytes from a stream offset to the end of the ring. */
  contiguous(offset: number): number {
    return this.#size - (offset & (this.#size - 1));
  }

  /** Gives all memory back. */
  release(): void {
    if (this.#size === 0) return;
    this.#share.give(this.#block, this.#size);
    this.#size = 0;
  }
}

/** Below this a loop beats the call. */
const LOOP_MAX = 24;

/** Makes garbage (a view) only between two arrays: see Budget. */
export function copy(
  to: Uint8Array,
  at: number,
  from: Uint8Array,
  start: number,
  length: number,
): void {
  if (length <= LOOP_MAX) {
    for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  } else if (to === from) to.copyWithin(at, start, start + length);
  else to.set(from.subarray(start, start + length), at);
}
