/**
 * Finds slots by a 32-bit hash: open addressing over typed arrays, nothing allocated in use.
 *
 * It knows slots and hashes only. Who owns the slots compares what is in them, for several may
 * have one hash. The hash must be keyed, or a peer could make all of its entries collide.
 */

/** What new memory holds: a table that nobody has filled takes up no memory yet. */
const EMPTY = 0;

/** Slots 0 to capacity - 1, each in the index or not. */
export class SlotIndex {
  /** Slots, one higher each. */
  readonly #table: Int32Array<ArrayBuffer>;
  readonly #hashes: Uint32Array<ArrayBuffer>;
  readonly #mask: number;
  #hash = 0;
  #at = 0;

  constructor(capacity: number) {
    // At most half full: a search looks at one or two places.
    const size = 2 ** Math.ceil(Math.log2(2 * Math.max(1, capacity)));
    this.#table = new Int32Array(size);
    this.#hashes = new Uint32Array(capacity);
    this.#mask = size - 1;
  }

  /** The first slot of this hash, or -1. Ask {@linkcode another} when it is not the one. */
  first(hash: number): number {
    this.#hash = hash >>> 0;
    this.#at = hash & this.#mask;
    return this.#search();
  }

  /** The next slot of the hash that was asked for last, or -1. Nothing may change in between. */
  another(): number {
    this.#at = (this.#at + 1) & this.#mask;
    return this.#search();
  }

  /** Puts in a slot that isn't. */
  insert(slot: number, hash: number): void {
    let at = hash & this.#mask;
    while (this.#table[at] !== EMPTY) at = (at + 1) & this.#mask;
    this.#table[at] = slot + 1;
    this.#hashes[slot] = hash;
  }

  /** Takes out a slot that is in. */
  remove(slot: number): void {
    const table = this.#table;
    const mask = this.#mask;
    let hole = this.#hashes[slot]! & mask;
    while (table[hole] !== slot + 1) {
      if (table[hole] === EMPTY) throw new RangeError(`Cannot remove slot ${slot} as it isn't in`);
      hole = (hole + 1) & mask;
    }
    // What stands behind moves up, unless it would get in front of its own place.
    for (let at = (hole + 1) & mask; table[at] !== EMPTY; at = (at + 1) & mask) {
      const home = this.#hashes[table[at]! - 1]! & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      table[hole] = table[at]!;
      hole = at;
    }
    table[hole] = EMPTY;
  }

  clear(): void {
    this.#table.fill(EMPTY);
  }

  #search(): number {
    const table = this.#table;
    for (; table[this.#at] !== EMPTY; this.#at = (this.#at + 1) & this.#mask) {
      const slot = table[this.#at]! - 1;
      if (this.#hashes[slot] === this.#hash) return slot;
    }
    return -1;
  }
}
