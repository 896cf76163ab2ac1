/**
 * A set of numbers kept as sorted, disjoint, half-open ranges in one typed array. Small by design:
 * what grows beyond its maximum is refused, and the caller treats that as loss.
 */

const INITIAL_RANGES = 4;

export class Intervals {
  #bounds = new Float64Array(2 * INITIAL_RANGES);
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
    // The usual case is at the end: data in order.
    let from = this.#count;
    while (from > 0 && this.#bounds[2 * from - 1]! >= start) from--;
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
    for (let i = this.#count - 1; i >= 0; i--) {
      const low = this.#bounds[2 * i]!;
      const high = this.#bounds[2 * i + 1]!;
      if (high <= start) return true;
      if (low >= end) continue;
      if (low < start && high > end) {
        if (!this.#insert(i + 1, end, high)) return false;
        this.#bounds[2 * i + 1] = start;
        return true;
      }
      if (low >= start && high <= end) this.#drop(i, i + 1);
      else if (low < start) this.#bounds[2 * i + 1] = start;
      else this.#bounds[2 * i] = end;
    }
    return true;
  }

  /** Whether all of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#bounds[2 * i]! <= start && this.#bounds[2 * i + 1]! >= end) return true;
    }
    return start >= end;
  }

  /** The end of the range that begins at or before `at` and holds it; `at` when there is none. */
  endOfRangeAt(at: number): number {
    for (let i = 0; i < this.#count && this.#bounds[2 * i]! <= at; i++) {
      if (this.#bounds[2 * i + 1]! > at) return this.#bounds[2 * i + 1]!;
    }
    return at;
  }

  #insert(index: number, start: number, end: number): boolean {
    if (this.#count === this.#max) return false;
    if (2 * this.#count === this.#bounds.length) {
      const grown = new Float64Array(2 * this.#bounds.length);
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
