/** Random numbers that nobody can foresee, drawn from the kernel a kilobyte at a time. */

import type { Bytes, Primitives } from "../crypto/primitives.ts";

const BYTES = 1024;
const TWO_32 = 0x1_0000_0000;

export class RandomNumbers {
  readonly #primitives: Primitives;
  readonly #bytes: Bytes = new Uint8Array(BYTES);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  #next = this.#words.length;

  constructor(primitives: Primitives) {
    this.#primitives = primitives;
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    if (this.#next === this.#words.length) {
      this.#primitives.random(this.#bytes);
      this.#next = 0;
    }
    const word = this.#words[this.#next]!;
    // Who reads this memory later learns nothing of what was given out.
    this.#words[this.#next++] = 0;
    return word;
  }

  /** 1 to 2^48 - 1. */
  nonZero48(): number {
    for (;;) {
      const number = this.u32() * 0x1_0000 + (this.u32() & 0xffff);
      if (number !== 0) return number;
    }
  }

  /** From 0 up to 1. */
  readonly unit = (): number => this.u32() / TWO_32;
}
