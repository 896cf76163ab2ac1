/**
 * The HELLO salts that any worker of a server has seen, in memory that they share. A copy of a
 * HELLO from another address goes to another worker, whose own filter does not know it.
 *
 *     key 4 | window of each region 4 | regions 4 × 2^20: 32 bits of a salt's hash, 0: free
 *
 * A region serves one window; who first needs it for a later one clears it. A salt that finds no
 * free place near its own is refused, as is one whose 32 bits another one nearby has: its client
 * comes again with a fresh one.
 */

import { SALT_BYTES } from "../../wire/limits.ts";
import { SIP_KEY_WORDS, sipHash } from "../../wire/siphash.ts";

const REGIONS = 4;
const REGION_WORDS = 1 << 20;
const WINDOWS_AT = SIP_KEY_WORDS;
const TABLE_AT = WINDOWS_AT + REGIONS;
const PROBES_MAX = 32;
/** In place of a window: somebody clears the region. */
const CLEARING = -1;

/** Memory for all workers of a server; `random` gives whole numbers of 32 bits. */
export function sharedSaltsMemory(random: () => number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4 * (TABLE_AT + REGIONS * REGION_WORDS));
  const words = new Int32Array(memory);
  for (let i = 0; i < SIP_KEY_WORDS; i++) words[i] = random();
  return memory;
}

export class SharedSalts {
  /** Salts that were seen before, by whichever worker, or found no place. */
  refused = 0;
  readonly #words: Int32Array;
  readonly #key: Uint32Array;
  readonly #hash = new Uint32Array(2);

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#key = Uint32Array.from(new Uint32Array(memory, 0, SIP_KEY_WORDS));
  }

  /** Whether this worker is the first that brings the salt at `at`. */
  claim(window: number, bytes: Uint8Array, at: number): boolean {
    const isFirst = this.#enter(window) && this.#claim(window % REGIONS, bytes, at);
    if (!isFirst) this.refused++;
    return isFirst;
  }

  #claim(region: number, bytes: Uint8Array, at: number): boolean {
    sipHash(this.#key, 0, bytes, at, SALT_BYTES, this.#hash);
    const mark = this.#hash[0]! | 0 || 1;
    const from = TABLE_AT + region * REGION_WORDS;
    for (let i = 0; i < PROBES_MAX; i++) {
      const place = from + ((this.#hash[1]! + i) & (REGION_WORDS - 1));
      const there = Atomics.compareExchange(this.#words, place, 0, mark);
      if (there === 0) return true;
      if (there === mark) return false;
    }
    return false;
  }

  /** Makes the window's region its own; false: it serves a later one by now. */
  #enter(window: number): boolean {
    const place = WINDOWS_AT + window % REGIONS;
    for (;;) {
      const there = Atomics.load(this.#words, place);
      if (there === window) return true;
      if (there > window) return false;
      // A few hundred microseconds, every half minute.
      if (there === CLEARING) continue;
      if (Atomics.compareExchange(this.#words, place, there, CLEARING) !== there) continue;
      const from = TABLE_AT + (window % REGIONS) * REGION_WORDS;
      this.#words.fill(0, from, from + REGION_WORDS);
      Atomics.store(this.#words, place, window);
      return true;
    }
  }
}
