/**
 * Encoded DATAGRAM frames that wait to be sent, first come first served, in one ring:
 *
 *     length u32 | frame … | length u32 | frame … | 0 (skip to the start) …
 */

const LENGTH_BYTES = 4;
const SKIP = 0;
const NOTHING = new Uint8Array(0);
const NO_VIEW = new DataView(NOTHING.buffer);

export class DatagramQueue {
  readonly #max: number;
  #bytes = NOTHING;
  #view = NO_VIEW;
  #head = 0;
  #used = 0;
  #count = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  /** Room for a frame of this length, as an offset into `memory`; -1: full. Then `commit`. */
  reserve(length: number): number {
    const need = LENGTH_BYTES + length;
    // Idle sessions have no ring at all.
    if (this.#bytes.length === 0) {
      this.#bytes = new Uint8Array(this.#max);
      this.#view = new DataView(this.#bytes.buffer);
    }
    const size = this.#bytes.length;
    let tail = (this.#head + this.#used) % size;
    const toEnd = size - tail;
    if (need > toEnd) {
      if (this.#used + toEnd + need > size) return -1;
      if (toEnd >= LENGTH_BYTES) this.#view.setUint32(tail, SKIP, true);
      this.#used += toEnd;
      tail = 0;
    } else if (this.#used + need > size) return -1;
    this.#view.setUint32(tail, length, true);
    return tail + LENGTH_BYTES;
  }

  /** The frame of `length` that was reserved is whole. */
  commit(length: number): void {
    this.#used += LENGTH_BYTES + length;
    this.#count++;
  }

  get memory(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Length of the first frame; only while `count` is not 0. */
  get firstLength(): number {
    this.#skipGap();
    return this.#view.getUint32(this.#head, true);
  }

  /** Where the first frame lies in `memory`. */
  get firstAt(): number {
    this.#skipGap();
    return this.#head + LENGTH_BYTES;
  }

  shift(): void {
    const size = LENGTH_BYTES + this.firstLength;
    this.#head = (this.#head + size) % this.#bytes.length;
    this.#used -= size;
    if (--this.#count > 0) return;
    this.#head = this.#used = 0;
  }

  /** Gives the memory back, with what is queued. */
  release(): void {
    this.#count = this.#head = this.#used = 0;
    this.#bytes = NOTHING;
    this.#view = NO_VIEW;
  }

  /** Gives the memory back unless something is queued. */
  shrink(): void {
    if (this.#count === 0) this.release();
  }

  #skipGap(): void {
    const toEnd = this.#bytes.length - this.#head;
    if (toEnd >= LENGTH_BYTES && this.#view.getUint32(this.#head, true) !== SKIP) return;
    this.#used -= toEnd;
    this.#head = 0;
  }
}
