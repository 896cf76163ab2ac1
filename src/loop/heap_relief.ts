/**
 * What a burst left behind on a worker's heap goes back to the system once it is over. The engine
 * collects while a worker allocates, and one that has become quiet does not: without this a server
 * would hold, for days, what the busiest minute took.
 */

import type { Native } from "../../ffi/native.ts";
import { releaseHeap } from "../../ffi/unused_memory.ts";

/** From one look to the next. */
export const LOOK_MS = 2000;
/** A collection stops the worker for as long as much lives: with more things it is left alone. */
export const LIVE_MAX = 4096;
/** Not worth it for less garbage, or where the burst was not so many times what is left of it. */
export const GARBAGE_BYTES_MIN = 32 << 20;
export const BURST_FACTOR = 4;
export const BURST_MIN = 4096;
/**
 * The first collection leaves most pages with a little in them, the second has them emptied, and
 * the engine lets go of what is empty some time later.
 */
export const SETTLE_MS = 10_000;
const COLLECTIONS = 2;

/** Collects the whole heap; only there where the engine was started with --expose-gc. */
const { gc } = globalThis as unknown as { readonly gc?: () => void };

export interface HeapReliefParts {
  readonly collect: (() => void) | undefined;
  readonly heapBytes: () => number;
  /** What was freed goes back to the system. */
  readonly release: () => void;
}

export class HeapRelief {
  readonly #parts: HeapReliefParts;
  #lookAt = 0;
  /** Most that lived since the last collection, and the heap after it. */
  #peak = 0;
  #heapBytes = 0;
  #collections = 0;
  #nextAt = Infinity;

  constructor(parts: HeapReliefParts) {
    this.#parts = parts;
  }

  static of(native: Native): HeapRelief {
    return new HeapRelief({
      collect: gc,
      heapBytes: () => Deno.memoryUsage().heapUsed,
      release: () => releaseHeap(native),
    });
  }

  /** To be called a few times a second; `live`: things such as sessions and streams. */
  tick(now: number, live: number): void {
    this.#peak = Math.max(this.#peak, live);
    if (now >= this.#nextAt) return this.#relieve(now, live);
    if (now < this.#lookAt) return;
    this.#lookAt = now + LOOK_MS;
    const isOver = live <= LIVE_MAX && this.#peak >= BURST_MIN + BURST_FACTOR * live;
    const { collect, heapBytes } = this.#parts;
    if (!isOver || collect === undefined) return;
    if (heapBytes() < this.#heapBytes + GARBAGE_BYTES_MIN) return;
    this.#collections = COLLECTIONS;
    this.#relieve(now, live);
  }

  #relieve(now: number, live: number): void {
    const { collect, heapBytes, release } = this.#parts;
    // Once there is a new burst, its end is waited for.
    const collects = this.#collections > 0 && live <= LIVE_MAX;
    if (collects) {
      this.#collections--;
      collect!();
      this.#heapBytes = heapBytes();
      this.#peak = live;
    }
    release();
    this.#nextAt = collects ? now + SETTLE_MS : Infinity;
  }
}
