/**
 * How often a HELLO's salt has come, opened or not: a recorded one, sent again from any number of
 * addresses, must not use up what HELLOs are allowed in all.
 *
 * Buckets of eight marks; a bucket that is full forgets the mark that came longest ago. Marks are
 * of a keyed hash: nobody can choose salts that push one another out.
 */

import { SALT_BYTES } from "../../wire/limits.ts";
import { SIP_KEY_WORDS, sipHash } from "../../wire/siphash.ts";

/** Copies of a salt that are looked at: one that was lost on its way out may come again. */
const SALT_COPIES_MAX = 2;

const BUCKET = 8;
const BUCKETS = 1 << 12;
/** A mark's lowest bits count. */
const COUNT_BITS = 2;
const COUNT_MASK = (1 << COUNT_BITS) - 1;

export class SaltLimit {
  readonly #key = new Uint32Array(SIP_KEY_WORDS);
  readonly #hash = new Uint32Array(2);
  /** In each bucket the newest first; 0: none. */
  readonly #marks = new Uint32Array(BUCKET * BUCKETS);

  /** `random`: numbers of 32 bits. */
  constructor(random: () => number) {
    for (let i = 0; i < SIP_KEY_WORDS; i++) this.#key[i] = random();
  }

  /** Whether the salt at `at` may be looked at once more; then it counts as seen. */
  admits(bytes: Uint8Array, at: number): boolean {
    sipHash(this.#key, 0, bytes, at, SALT_BYTES, this.#hash);
    const from = (this.#hash[0]! & (BUCKETS - 1)) * BUCKET;
    const mark = (this.#hash[1]! & ~COUNT_MASK) >>> 0 || 1 << COUNT_BITS;
    const marks = this.#marks;
    for (let i = 0; i < BUCKET; i++) {
      if ((marks[from + i]! & ~COUNT_MASK) >>> 0 !== mark) continue;
      if ((marks[from + i]! & COUNT_MASK) === SALT_COPIES_MAX) return false;
      marks[from + i]!++;
      return true;
    }
    marks.copyWithin(from + 1, from, from + BUCKET - 1);
    marks[from] = mark | 1;
    return true;
  }
}
