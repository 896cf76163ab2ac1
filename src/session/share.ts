/**
 * What one session holds of the memory that all sessions share: it may hold half of what is free
 * beside its own (Pool), and what it reads ahead of its path is limited for its streams together.
 */

import { Budget, PAGE_BYTES } from "./budget.ts";
import {
  OPENINGS_A_SECOND,
  OPENINGS_BURST,
  OPENINGS_BUSY_A_SECOND,
  SPARSE_FACTOR,
  SPARSE_PAGES_SURE,
} from "./limits.ts";

export class Share {
  /** Bytes of blocks. */
  held = 0;
  /** Bytes of streams that were written and not yet sent; and how far all of them may go. */
  unsent = 0;
  readAhead = 0;
  /** The peer does not answer: nothing more is taken to be sent to it. */
  isSilent = false;
  /** Pages of what came and waits for its reader, and the bytes that they hold. */
  pages = 0;
  kept = 0;
  readonly #budget: Budget;
  /** OPENs that may be taken, and when that was so. */
  #openings = OPENINGS_BURST;
  #openingsAt = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get memory(): Uint8Array<ArrayBuffer> {
    return this.#budget.memory;
  }

  /** A block of at least `bytes`: its offset, or -1. A block of `instead` bytes goes for it. */
  take(bytes: number, instead = 0): number {
    const block = this.#budget.takeFor(this.held, bytes, instead);
    if (block < 0) return block;
    if (this.held === 0) this.#budget.countHolder(1);
    this.held += Budget.blockBytes(bytes);
    return block;
  }

  give(at: number, bytes: number): void {
    this.#budget.give(at, bytes);
    this.held -= Budget.blockBytes(bytes);
    if (this.held === 0) this.#budget.countHolder(-1);
  }

  /** Takes one more OPEN; false: they come too fast. */
  takeOpening(now: number): boolean {
    const all = this.#budget.openings;
    const rate = all.available(now) > 0 ? OPENINGS_A_SECOND : OPENINGS_BUSY_A_SECOND;
    const earned = (now - this.#openingsAt) * rate / 1000;
    this.#openings = Math.min(OPENINGS_BURST, this.#openings + earned);
    this.#openingsAt = now;
    if (this.#openings < 1) return false;
    this.#openings--;
    all.charge(now, 1);
    return true;
  }

  /** Whether what came may take one more page: pages may not be nearly empty. */
  get takesPage(): boolean {
    const { pages } = this;
    return pages < SPARSE_PAGES_SURE || pages * PAGE_BYTES < SPARSE_FACTOR * this.kept;
  }
}
