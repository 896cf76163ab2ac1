/**
 * The receiving half of a stream: puts bytes back in order and holds them until the reader takes
 * them. Data that comes in order, with nothing held back, never gets copied here: the session hands
 * it on from the packet.
 *
 *     base                 limit
 *      | in order | holes …  |
 */

import type { NumberCell } from "../base/number_field.ts";
import { Intervals } from "./intervals.ts";
import { PageStore } from "./page_store.ts";
import type { Share } from "./share.ts";

const RANGES_MAX = 1024;

export class ReceiveBuffer {
  readonly #share: Share;
  readonly #pages: PageStore;
  /** Bytes kept, of which some may be known twice. */
  #kept = 0;
  readonly #held = new Intervals(RANGES_MAX);
  #base = 0;
  #highest = 0;
  #final = Infinity;

  constructor(share: Share) {
    this.#share = share;
    this.#pages = new PageStore(share);
  }

  /** Bytes that were kept and not read. */
  get kept(): number {
    return this.#kept;
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
    if (this.#held.covers(start, end)) return true;
    if (!this.#pages.reserve(this.#base, start, end)) return false;
    if (!this.#held.add(start, end)) return false;
    this.#pages.put(start | 0, from, at + skip, length - skip);
    this.#countKept(length - skip);
    return true;
  }

  #countKept(bytes: number): void {
    this.#kept += bytes;
    this.#share.kept += bytes;
  }

  /** The FIN: the stream ends at this offset. False: that contradicts what came before. */
  finish(final: number): boolean {
    if (final < this.#highest || (this.#final !== Infinity && this.#final !== final)) return false;
    this.#final = final;
    return true;
  }

  /** Where the next readable bytes lie, as one piece of at most `contiguous` bytes. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#pages.memory;
  }

  get index(): number {
    return this.#pages.indexOf(this.#base | 0);
  }

  get contiguous(): number {
    return Math.min(this.readable, this.#pages.contiguous(this.#base | 0));
  }

  /** The reader has taken `length` of the readable bytes. */
  consume(length: number): void {
    const end = this.#base + length;
    this.#held.remove(this.#base, end);
    this.#pages.drop(this.#base, end);
    this.#base = end;
    if (this.#held.isEmpty) this.release();
    else this.#countKept(-Math.min(length, this.#kept));
  }

  release(): void {
    this.#pages.release();
    this.#held.clear();
    this.#countKept(-this.#kept);
  }
}
