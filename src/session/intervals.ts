/**
 * A set of numbers kept as sorted, disjoint, half-open ranges in one typed array. Small by design:
 * what grows beyond its maximum is refused, and the caller treats that as loss.
 */

const INITIAL_RANGES = 4;
/** Most sets stay empty: what arrives in order needs none. */
const NOTHING = new Float64Array(0);

export class Intervals {
  #bounds = NOTHING;
  #count = 0;
  readonly #max: number;

  constructor(maxRanges: number) {
    this.#max = maxRanges;
  }

  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  start(i: number): number {
    return this.#bounds[2 * i]!;
  }

  end(i: number): number {
    return this.#bounds[2 * i + 1]!;
  }

  clear(): void {
    this.#count = 0;
  }

  /** Adds [start, end), joining what it touches. False: one range too many, nothing changed. */
  add(start: number, end: number): boolean {
    if (start >= end) return true;
    const from = this.firstEndingAt(start);
    let to = from;
    while (to < this.#count && this.#bounds[2 * to]! <= end) to++;
    if (from === to) return this.#insert(from, start, end);
    this.#bounds[2 * from] = Math.min(this.#bounds[2 * from]!, start);
    this.#bounds[2 * from + 1] = Math.max(this.#bounds[2 * to - 1]!, end);
    this.#drop(from + 1, to);
    return true;
  }

  /** Takes [start, end) out. False: that would cut a range in two and there is no room for both. */
  remove(start: number, end: number): boolean {
    if (start >= end) return true;
    let from = this.firstEndingAt(start);
    if (from === this.#count || this.#bounds[2 * from]! >= end) return true;
    if (this.#bounds[2 * from]! < start) {
      const high = this.#bounds[2 * from + 1]!;
      if (high > end && !this.#insert(from + 1, end, high)) return false;
      this.#bounds[2 * from + 1] = start;
      if (high > end) return true;
      from++;
    }
    let to = from;
    while (to < this.#count && this.#bounds[2 * to + 1]! <= end) to++;
    if (to < this.#count && this.#bounds[2 * to]! < end) this.#bounds[2 * to] = end;
    this.#drop(from, to);
    return true;
  }

  /** Whether all of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const i = this.firstEndingAt(end);
    return i < this.#count && this.#bounds[2 * i]! <= start;
  }

  /** The end of the range that begins at or before `at` and holds it; `at` when there is none. */
  endOfRangeAt(at: number): number {
    const i = this.firstEndingAt(at + 1);
    return i < this.#count && this.#bounds[2 * i]! <= at ? this.#bounds[2 * i + 1]! : at;
  }

  /** The first range whose end is `end` or more. */
  firstEndingAt(end: number): number {
    // The usual cases first: at the very end, behind it, and at the front.
    const last = this.#count - 1;
    if (last < 0 || this.#bounds[2 * last + 1]! < end) return this.#count;
    if (last === 0 || this.#bounds[2 * last - 1]! < end) return last;
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#bounds[2 * middle + 1]! < end) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(index: number, start: number, end: number): boolean {
    if (this.#count === this.#max) return false;
    if (2 * this.#count === this.#bounds.length) {
      const grown = new Float64Array(Math.max(2 * INITIAL_RANGES, 2 * this.#bounds.length));
      grown.set(this.#bounds);
      this.#bounds = grown;
    }
    this.#bounds.copyWithin(2 * index + 2, 2 * index, 2 * this.#count);
    this.#bounds[2 * index] = start;
    this.#bounds[2 * index + 1] = end;
    this.#count++;
    return true;
  }

  #drop(from: number, to: number): void {
    if (from >= to) return;
    this.#bounds.copyWithin(2 * from, 2 * to, 2 * this.#count);
    this.#count -= to - from;
  }
}
