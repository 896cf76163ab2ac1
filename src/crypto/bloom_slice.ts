/**
 * A Bloom filter over the salts of one window.
 *
 * 3 MiB for a million entries are 25 bits an entry; with 17 probes a new salt is taken for an old
 * one in 6 of a million cases when the slice is full, and in far fewer before. Double hashing
 * (Kirsch, Mitzenmacher 2006), with a step that grows by one (Dillinger, Manolios 2004): no step
 * then runs in a short circle.
 */

export const BLOOM_BYTES = 3 << 20;
const BITS = BLOOM_BYTES * 8;
const PROBES = 17;

export class BloomSlice {
  readonly bits: Uint8Array<ArrayBuffer> = new Uint8Array(BLOOM_BYTES);
  window = -1;
  count = 0;

  /** Starts over, for another window. */
  reset(window: number): void {
    if (this.count > 0) this.bits.fill(0);
    this.count = 0;
    this.window = window;
  }

  /** Whether an entry of this 64-bit hash may be here. */
  has(low: number, high: number): boolean {
    const { bits } = this;
    let at = (low >>> 0) % BITS;
    let step = (high >>> 0) % BITS;
    for (let i = 1; i <= PROBES; i++) {
      if ((bits[at >>> 3]! & 1 << (at & 7)) === 0) return false;
      at = (at + step) % BITS;
      step = (step + i) % BITS;
    }
    return true;
  }

  add(low: number, high: number): void {
    const { bits } = this;
    let at = (low >>> 0) % BITS;
    let step = (high >>> 0) % BITS;
    for (let i = 1; i <= PROBES; i++) {
      bits[at >>> 3]! |= 1 << (at & 7);
      at = (at + step) % BITS;
      step = (step + i) % BITS;
    }
    this.count++;
  }
}
