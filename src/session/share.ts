/**
 * What one session has of what all sessions of a worker share, and what the sessions of one user
 * have together: neither may hold more than half of what is free beside its own (Pool). What a
 * session reads ahead of its path is limited for all its streams.
 */

import { Budget, PAGE_BYTES } from "./budget.ts";
import {
  OPENINGS_A_SECOND,
  OPENINGS_BURST,
  OPENINGS_BUSY_A_SECOND,
  OPENINGS_BUSY_BURST,
  SPARSE_FACTOR,
  SPARSE_PAGES_SURE,
} from "./limits.ts";

/** How fast streams are opened. */
class Openings {
  #left = OPENINGS_BURST;
  #at = 0;

  /** Whether one may be taken now; `isBusy`: others open many. */
  has(now: number, isBusy: boolean): boolean {
    const rate = isBusy ? OPENINGS_BUSY_A_SECOND : OPENINGS_A_SECOND;
    const most = isBusy ? OPENINGS_BUSY_BURST : OPENINGS_BURST;
    this.#left = Math.min(most, this.#left + (now - this.#at) * rate / 1000);
    this.#at = now;
    return this.#left >= 1;
  }

  take(): void {
    this.#left--;
  }
}

/** The sessions of a user. */
export class ShareGroup {
  /** Bytes of blocks, and streams. */
  held = 0;
  streams = 0;
  readonly openings: Openings = new Openings();
}

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
  readonly #group: ShareGroup | undefined;
  readonly #openings = new Openings();

  constructor(budget: Budget, group?: ShareGroup) {
    this.#budget = budget;
    this.#group = group;
  }

  get memory(): Uint8Array<ArrayBuffer> {
    return this.#budget.memory;
  }

  /** A block of at least `bytes`: its offset, or -1. A block of `instead` bytes goes for it. */
  take(bytes: number, instead = 0): number {
    const group = this.#group;
    const block = this.#budget.takeFor(this.held, group?.held ?? this.held, bytes, instead);
    if (block < 0) return block;
    if (this.held === 0) this.#budget.countHolder(1);
    const size = Budget.blockBytes(bytes);
    this.held += size;
    if (group !== undefined) group.held += size;
    return block;
  }

  give(at: number, bytes: number): void {
    this.#budget.give(at, bytes);
    const size = Budget.blockBytes(bytes);
    this.held -= size;
    if (this.#group !== undefined) this.#group.held -= size;
    if (this.held === 0) this.#budget.countHolder(-1);
  }

  /** Takes one more OPEN; false: they come too fast. */
  takeOpening(now: number): boolean {
    const all = this.#budget.openings;
    const isBusy = all.available(now) < 1;
    const ofGroup = this.#group?.openings;
    if (!this.#openings.has(now, isBusy) || ofGroup?.has(now, isBusy) === false) return false;
    this.#openings.take();
    ofGroup?.take();
    all.charge(now, 1);
    return true;
  }

  /** Whether what came may take one more page: pages may not be nearly empty. */
  get takesPage(): boolean {
    const { pages } = this;
    return pages < SPARSE_PAGES_SURE || pages * PAGE_BYTES < SPARSE_FACTOR * this.kept;
  }
}
