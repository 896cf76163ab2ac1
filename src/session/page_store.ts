/**
 * Bytes of a stream by their stream offset, in pages of the memory that all sessions share: what is
 * far behind a hole costs its own pages and not the hole.
 *
 * The table of pages is a ring of a power of two, so that of an offset its lowest 32 bits will do.
 */

import { PAGE_BYTES } from "./budget.ts";
import { copy } from "./byte_ring.ts";
import type { Share } from "./share.ts";

const PAGE_BITS = Math.log2(PAGE_BYTES);
const IN_PAGE = PAGE_BYTES - 1;
/** Of a table of pages that is kept when it is empty. */
const TABLE_MIN = 8;
const NO_PAGE = -1;
/** Most streams never hold anything back. */
const NO_TABLE = new Int32Array(0);

export class PageStore {
  readonly #share: Share;
  #table = NO_TABLE;
  /** Pages in it. */
  #count = 0;

  constructor(share: Share) {
    this.#share = share;
  }

  /** Makes room for [start, end), where nothing is stored below `base`. False: there is none. */
  reserve(base: number, start: number, end: number): boolean {
    const first = Math.floor(base / PAGE_BYTES);
    const last = Math.floor((end - 1) / PAGE_BYTES);
    if (last - first >= this.#table.length) this.#grow(first, last - first + 1);
    for (let page = Math.floor(start / PAGE_BYTES); page <= last; page++) {
      const slot = page & (this.#table.length - 1);
      if (this.#table[slot] === NO_PAGE && !this.#add(slot)) return false;
    }
    return true;
  }

  #add(slot: number): boolean {
    const share = this.#share;
    const block = share.takesPage ? share.take(PAGE_BYTES) : NO_PAGE;
    if (block === NO_PAGE) return false;
    this.#table[slot] = block;
    this.#count++;
    share.pages++;
    return true;
  }

  /** A table for so many pages from `first` on; what is in it lies there. */
  #grow(first: number, pages: number): void {
    let length = Math.max(TABLE_MIN, this.#table.length);
    while (length < pages) length *= 2;
    const table = new Int32Array(length).fill(NO_PAGE);
    const old = this.#table;
    for (let page = first; page < first + old.length; page++) {
      table[page & (length - 1)] = old[page & (old.length - 1)]!;
    }
    this.#table = table;
  }

  /** Stores bytes at a stream offset for which there is room. */
  put(offset: number, from: Uint8Array, at: number, length: number): void {
    const { memory } = this.#share;
    for (let done = 0; done < length;) {
      const piece = Math.min(length - done, this.contiguous(offset + done));
      copy(memory, this.indexOf(offset + done), from, at + done, piece);
      done += piece;
    }
  }

  get memory(): Uint8Array<ArrayBuffer> {
    return this.#share.memory;
  }

  /** Where a stored byte lies in `memory`. */
  indexOf(offset: number): number {
    const slot = (offset >>> PAGE_BITS) & (this.#table.length - 1);
    return this.#table[slot]! + (offset & IN_PAGE);
  }

  /** Bytes from a stream offset to the end of its page. */
  contiguous(offset: number): number {
    return PAGE_BYTES - (offset & IN_PAGE);
  }

  /** Gives back the pages that lie whole in [start, end), of which `start` has been read last. */
  drop(start: number, end: number): void {
    const last = Math.floor(end / PAGE_BYTES);
    for (let page = Math.floor(start / PAGE_BYTES); page < last; page++) {
      this.#remove(page & (this.#table.length - 1));
    }
  }

  /** Gives all back. */
  release(): void {
    for (let slot = 0; this.#count > 0; slot++) this.#remove(slot);
    if (this.#table.length > TABLE_MIN) this.#table = NO_TABLE;
  }

  #remove(slot: number): void {
    const block = this.#table[slot]!;
    if (block === NO_PAGE) return;
    this.#table[slot] = NO_PAGE;
    this.#share.give(block, PAGE_BYTES);
    this.#share.pages--;
    this.#count--;
  }
}
