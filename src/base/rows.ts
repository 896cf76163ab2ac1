/**
 * Small arrays of one length as rows of large ones. An array of its own costs 200 bytes beside what
 * it holds, and 130 more where it is no longer in the heap: much, for each of many sessions.
 */

type Numbers = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

export class Rows<A extends Numbers> {
  /** Elements of a row. */
  readonly length: number;
  /** A block has 2 ** bits rows. */
  readonly #bits: number;
  readonly #makeBlock: (length: number) => A;
  readonly #blocks: A[] = [];
  readonly #free: number[] = [];
  #touched = 0;

  /** Blocks of 2 ** `bits` rows are made when they are needed, and stay. */
  constructor(length: number, bits: number, makeBlock: (length: number) => A) {
    this.length = length;
    this.#bits = bits;
    this.#makeBlock = makeBlock;
  }

  /** A row, with what was in it before: nothing but zeros at first. */
  take(): number {
    const row = this.#free.pop() ?? this.#touched++;
    if (row === this.#blocks.length << this.#bits) {
      this.#blocks.push(this.#makeBlock(this.length << this.#bits));
    }
    return row;
  }

  /** Somebody else may have the row. */
  give(row: number): void {
    this.#free.push(row);
  }

  /** The array that a row lies in. */
  block(row: number): A {
    return this.#blocks[row >> this.#bits]!;
  }

  /** Where in its array a row begins. */
  at(row: number): number {
    return (row & ~(-1 << this.#bits)) * this.length;
  }
}
