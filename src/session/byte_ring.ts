/**
 * Bytes of a stream, addressed by their stream offset: a ring that grows as needed up to a maximum,
 * paid from a budget that all streams share, and gives everything back when it is empty.
 */

/** Bytes that may be held in all; what it refuses has to wait. */
export class Budget {
  readonly max: number;
  #used = 0;
  /** How often it refused. */
  refusals = 0;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#used;
  }

  take(bytes: number): boolean {
    if (this.#used + bytes > this.max) {
      this.refusals++;
      return false;
    }
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

const SMALLEST = 4096;
const NOTHING = new Uint8Array(0);

export class ByteRing {
  #bytes: Uint8Array<ArrayBuffer> = NOTHING;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  /**
   * Makes room for [base, end), keeping what is stored there. False: the budget is spent, nothing
   * changed.
   */
  reserve(base: number, end: number, storedEnd: number): boolean {
    const need = end - base;
    if (need <= this.#bytes.length) return true;
    let size = Math.max(SMALLEST, this.#bytes.length);
    while (size < need) size *= 2;
    if (!this.#budget.take(size - this.#bytes.length)) return false;
    const grown = new Uint8Array(size);
    const old = this.#bytes;
    this.#bytes = grown;
    for (let at = base; at < storedEnd;) {
      const from = at % old.length;
      const length = Math.min(storedEnd - at, old.length - from, size - at % size);
      grown.set(old.subarray(from, from + length), at % size);
      at += length;
    }
    return true;
  }

  /** Stores bytes at a stream offset for which there is room. */
  put(offset: number, from: Uint8Array, at: number, length: number): void {
    const size = this.#bytes.length;
    for (let done = 0; done < length;) {
      const to = (offset + done) % size;
      const part = Math.min(length - done, size - to);
      copy(this.#bytes, to, from, at + done, part);
      done += part;
    }
  }

  /** Copies bytes at a stream offset out. */
  take(offset: number, to: Uint8Array, at: number, length: number): void {
    const size = this.#bytes.length;
    for (let done = 0; done < length;) {
      const from = (offset + done) % size;
      const part = Math.min(length - done, size - from);
      copy(to, at + done, this.#bytes, from, part);
      done += part;
    }
  }

  /** The memory, for a reader that can't wait for a copy. With `indexOf` and `contiguous`. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  indexOf(offset: number): number {
    return offset % this.#bytes.length;
  }

  /** Bytes from a stream offset to the end of the memory. */
  contiguous(offset: number): number {
    return this.#bytes.length - offset % this.#bytes.length;
  }

  /** Gives all memory back. */
  release(): void {
    this.#budget.give(this.#bytes.length);
    this.#bytes = NOTHING;
  }
}

/** Below this a loop beats the call; above it `set` of a view does. */
const LOOP_MAX = 24;

function copy(to: Uint8Array, at: number, from: Uint8Array, start: number, length: number): void {
  if (length <= LOOP_MAX) {
    for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  } else to.set(from.subarray(start, start + length), at);
}
