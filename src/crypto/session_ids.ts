/**
 * The session ids that a server gives out, and what it knows of one without having the session:
 * whether it can have given it out, and its reset token.
 *
 *     47          36        30                8+w        w         0
 *     +-----------+---------+------------------+---------+---------+
 *     | MAC 12    | gen. 6  | count, permuted  | spare 8 | worker  |     w: bits of the worker
 *     +-----------+---------+------------------+---------+---------+
 *
 * An id comes once in a generation: the count goes through a keyed permutation. The generation
 * grows with each start and each time the count is through, and the token depends on all of it, so
 * that the former holder of an id can't end the session of its next one.
 *
 *     MAC = SipHash(HKDF(secret, "", "phantom-ids-v5", 16), lower 36 bits as u48)[0..2] mod 2^12
 */

import { Writer } from "../wire/cursor.ts";
import { ownerMask } from "../wire/session_id.ts";
import { sipHash } from "../wire/siphash.ts";
import { type Bytes, label, type Primitives } from "./primitives.ts";
import { resetToken } from "./reset.ts";
import { sipKeyOf } from "./sip_secret.ts";

/** Generations that one start may use: each start begins so much higher. */
export const GENERATIONS_A_START = 8;

const IDS_LABEL = label("phantom-ids-v5");
const SPARE_BITS = 8;
const GENERATION_AT = 30;
const GENERATIONS = 64;
const MAC_AT = 36;
const MAC_MASK = 0xfff;
const ROUNDS = 4;
// One thread, no re-entry.
const text = new Uint8Array(6);
const hash = new Uint32Array(2);

export interface SessionIdOptions {
  /** The server's, which outlives the process. */
  readonly secret: Uint8Array;
  /** That this start begins with; the next one begins GENERATIONS_A_START higher, at least. */
  readonly generation: number;
  readonly worker: number;
  readonly workers: number;
}

export class SessionIds {
  readonly #primitives: Primitives;
  readonly #options: SessionIdOptions;
  readonly #secret: Bytes;
  readonly #key: Uint32Array<ArrayBuffer>;
  /** Where the count stands in an id, and how many bits it has. */
  readonly #countAt: number;
  readonly #countBits: number;
  #count = 0;
  #lap = 0;

  constructor(primitives: Primitives, options: SessionIdOptions) {
    this.#primitives = primitives;
    this.#options = options;
    this.#secret = Uint8Array.from(options.secret);
    this.#key = sipKeyOf(primitives, options.secret, IDS_LABEL);
    this.#countAt = 32 - Math.clz32(ownerMask(options.workers)) + SPARE_BITS;
    this.#countBits = GENERATION_AT - this.#countAt;
  }

  /** An id that this server has not given out in this generation. */
  next(): number {
    if (this.#count === 2 ** this.#countBits) {
      this.#count = 0;
      this.#lap = (this.#lap + 1) % GENERATIONS_A_START;
    }
    const generation = (this.#options.generation + this.#lap) % GENERATIONS;
    const low = this.#permuted(this.#count++) * 2 ** this.#countAt + this.#options.worker;
    const core = generation * 2 ** GENERATION_AT + low;
    return this.#mac(core) * 2 ** MAC_AT + core;
  }

  /** Whether a server with this secret can have given the id out. */
  isOurs(id: number): boolean {
    const core = id % 2 ** MAC_AT;
    return core !== 0 && Math.floor(id / 2 ** MAC_AT) === this.#mac(core);
  }

  /** The reset token of a session, be it here or not. */
  token(id: number): Bytes {
    return resetToken(this.#primitives, this.#secret, id, this.#generationOf(id));
  }

  wipe(): void {
    this.#secret.fill(0);
    this.#key.fill(0);
  }

  /** The last generation, up to the present one, that ends with the id's bits. */
  #generationOf(id: number): number {
    const present = this.#options.generation + this.#lap;
    const bits = Math.floor(id / 2 ** GENERATION_AT) % GENERATIONS;
    return Math.max(0, present - (present - bits + GENERATIONS * 2) % GENERATIONS);
  }

  #mac(core: number): number {
    new Writer(text).u48(core);
    sipHash(this.#key, 0, text, 0, text.length, hash);
    return hash[0]! & MAC_MASK;
  }

  /**
   * A Feistel network over an even number of bits; what lands above the range goes through it once
   * more, until it does not.
   */
  #permuted(count: number): number {
    const half = Math.ceil(this.#countBits / 2);
    const mask = 2 ** half - 1;
    let value = count;
    do {
      let left = value >>> half, right = value & mask;
      for (let round = 0; round < ROUNDS; round++) {
        const next = left ^ (this.#round(round, right) & mask);
        left = right;
        right = next;
      }
      value = left << half | right;
    } while (value >= 2 ** this.#countBits);
    return value;
  }

  #round(round: number, half: number): number {
    const words = new Writer(text);
    words.u16(0xff00 | round);
    words.u32(half);
    sipHash(this.#key, 0, text, 0, text.length, hash);
    return hash[0]!;
  }
}
