/**
 * The memory of all streams of a worker: one array, given out in blocks of a power of two
 * (a buddy allocator). One array, since copies inside it make no garbage, and a stream that comes
 * and goes neither allocates nor zeroes memory. Pages that were never used cost nothing.
 */

import { Pool } from "../reliability/pool.ts";
import { TokenBucket } from "../reliability/token_bucket.ts";
import {
  MEMORY_SURE,
  OPENINGS_WORKER_A_SECOND,
  OPENINGS_WORKER_BURST,
  STREAMS_SURE,
  STREAMS_WORKER_MAX,
  UNOPENED_SURE,
  UNOPENED_WORKER_MAX,
} from "./limits.ts";

/** Smallest block. */
const PAGE_BITS = 12;
export const PAGE_BYTES = 1 << PAGE_BITS;
/** Orders of blocks: 4 KiB to 16 MiB. */
const ORDERS = 13;
const NONE = -1;
/** In `#order`: no free block begins here. */
const TAKEN = -1;
/** What is kept for those that hold little, and how much of it they get at once. */
const RESERVE_SHARE = 1 / 8;
const SURE_SHARE = RESERVE_SHARE / 2;
/** What is not in use is given back to the system by so much at least, in pieces of 64 KiB ... */
const SWEPT_BYTES_MIN = 4 << 20;
const SWEPT_ORDER_MIN = 4;
/** ... of which so many pages are looked at in a call. */
const SWEEP_PAGES = 4096;

export class Budget {
  readonly max: number;
  /** How often it refused. */
  refusals = 0;
  /** The streams themselves, and those of them that no OPEN has made. */
  readonly streams: Pool = new Pool(STREAMS_WORKER_MAX, STREAMS_SURE);
  readonly unopened: Pool = new Pool(UNOPENED_WORKER_MAX, UNOPENED_SURE);
  /** Streams opened a second. */
  readonly openings: TokenBucket = new TokenBucket(
    OPENINGS_WORKER_A_SECOND,
    OPENINGS_WORKER_BURST,
  );
  /** Most that was in use since a sweep ended: about what the system has given us. */
  #peak = 0;
  /** The page that a sweep is at. */
  #sweptTo = NONE;
  readonly #pool: Pool;
  #holders = 0;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  /** By page: the order of the free block that begins there. */
  readonly #order: Int8Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** By order: the first free block. */
  readonly #free = new Int32Array(ORDERS).fill(NONE);

  /** At most `max` bytes, in whole pages of 4 KiB. */
  constructor(max: number) {
    const pages = Math.floor(max / PAGE_BYTES);
    this.max = pages * PAGE_BYTES;
    this.#pool = new Pool(this.max, MEMORY_SURE, RESERVE_SHARE);
    this.#order = new Int8Array(pages).fill(TAKEN);
    this.#next = new Int32Array(pages);
    this.#previous = new Int32Array(pages);
    // Backwards, so that the lowest blocks are given out first.
    let end = pages;
    while (end > 0) {
      const order = Math.min(ORDERS - 1, Math.clz32(end & -end) ^ 31);
      end -= 1 << order;
      this.#push(end, order);
    }
  }

  get used(): number {
    return this.#pool.used;
  }

  /** So little is left that whoever holds most should give some back. */
  get isShort(): boolean {
    return this.#pool.isShort;
  }

  /** What `take` gives offsets into; always the same array. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#bytes ??= new Uint8Array(this.max);
  }

  /** Bytes that a block for `bytes` has. */
  static blockBytes(bytes: number): number {
    return PAGE_BYTES << orderOf(bytes);
  }

  /** Sessions that hold some of it. */
  get holders(): number {
    return this.#holders;
  }

  /** A session begins to hold some of it (1), or holds none any more (-1). */
  countHolder(change: number): void {
    const holders = this.#holders += change;
    this.#pool.sure = Math.min(MEMORY_SURE, SURE_SHARE * this.max / holders);
  }

  /** As `take`, for a session and user that hold so much, `instead` of a block: see Pool. */
  takeFor(held: number, ofGroup: number, bytes: number, instead: number): number {
    const size = Budget.blockBytes(bytes);
    if (this.#pool.admits(held, ofGroup, size, instead)) return this.take(bytes);
    this.refusals++;
    return NONE;
  }

  /** A block of at least `bytes`: its offset, or -1. Its bytes are what was there before. */
  take(bytes: number): number {
    const order = orderOf(bytes);
    let from = order;
    while (from < ORDERS && this.#free[from] === NONE) from++;
    if (from >= ORDERS) {
      this.refusals++;
      return NONE;
    }
    const page = this.#free[from]!;
    this.#unlink(page);
    while (from > order) this.#push(page + (1 << --from), from);
    this.#pool.used += PAGE_BYTES << order;
    if (this.#pool.used > this.#peak) this.#peak = this.#pool.used;
    return page << PAGE_BITS;
  }

  /** Gives back a block that was taken for `bytes`. */
  give(at: number, bytes: number): void {
    let order = orderOf(bytes);
    let page = at >>> PAGE_BITS;
    this.#pool.used -= PAGE_BYTES << order;
    while (order < ORDERS - 1) {
      const buddy = page ^ (1 << order);
      if (this.#order[buddy] !== order) break;
      this.#unlink(buddy);
      page = Math.min(page, buddy);
      order++;
    }
    this.#push(page, order);
  }

  /**
   * Names free memory by pieces, of a part of all at each call, so that the system may have it
   * back: from when little is in use of what once was, until all has been looked at.
   */
  sweep(unused: (at: number, bytes: number) => void): void {
    const { used } = this;
    if (this.#sweptTo === NONE) {
      if (this.#peak - used < SWEPT_BYTES_MIN || 2 * used > this.#peak) return;
      this.#sweptTo = 0;
    }
    const pages = this.#order.length;
    const end = Math.min(pages, this.#sweptTo + SWEEP_PAGES);
    let page = this.#sweptTo;
    while (page < end) {
      const order = this.#order[page]!;
      if (order >= SWEPT_ORDER_MIN) unused(page << PAGE_BITS, PAGE_BYTES << order);
      page += order > 0 ? 1 << order : 1;
    }
    this.#sweptTo = page < pages ? page : NONE;
    if (page >= pages) this.#peak = used;
  }

  #push(page: number, order: number): void {
    const first = this.#free[order]!;
    this.#order[page] = order;
    this.#next[page] = first;
    this.#previous[page] = NONE;
    if (first !== NONE) this.#previous[first] = page;
    this.#free[order] = page;
  }

  #unlink(page: number): void {
    const next = this.#next[page]!;
    const previous = this.#previous[page]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else this.#free[this.#order[page]!] = next;
    this.#order[page] = TAKEN;
  }
}

/** The order of the smallest block that holds so many bytes; ORDERS or more: there is none. */
function orderOf(bytes: number): number {
  if (bytes > PAGE_BYTES << (ORDERS - 1)) return ORDERS;
  return 32 - Math.clz32(Math.max(0, bytes - 1) >>> PAGE_BITS);
}
