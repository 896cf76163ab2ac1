/**
 * ChaCha20-Poly1305 (RFC 8439) in batches, in place, for DATA packets.
 *
 * `Aead` is what the native table offers as well; `PortableAead` is the implementation for a
 * machine without it, and the oracle in its tests. The nonce is 32 zero bits and a 64-bit number:
 * a number must never repeat under one key. Nothing here counts numbers; the session does.
 */

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { KEY_BYTES, TAG_BYTES } from "../wire/limits.ts";
import type { Bytes } from "./primitives.ts";

/** Words of an operation: number (low, high), key, aad, aadBytes, text, textBytes, result. */
export const AEAD_OP_WORDS = 8;
const RESULT_WORD = 7;

/** Results of an operation, as negative errno: wrong tag, bad offsets, no such key. */
export const AEAD_BAD_TAG = -74;
export const AEAD_BAD_OFFSETS = -22;
export const AEAD_NO_KEY = -2;

const TWO_32 = 0x1_0000_0000;
const KEYS_MAX = 1 << 20;
const SLOT_BITS = 20;
const GENERATION_MAX = 0x7ff;

/** Operations on one arena: what to seal or open, and how it went. */
export interface AeadBatch {
  readonly capacity: number;
  /** AEAD_OP_WORDS words each. */
  readonly ops: Uint32Array<ArrayBuffer>;
  readonly count: number;
  readonly isFull: boolean;
  clear(): void;
  /** Adds an operation; its index. Offsets are in the arena; the tag stands behind the text. */
  add(
    key: number,
    number: number,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): number;
  /** After seal or open: 0, or one of the negative results. */
  result(i: number): number;
}

/** Keys by id, and batches under them. */
export interface Aead {
  /** Copies a key in; its id, which is never that of a key removed a short time ago. */
  addKey(key: Bytes): number;
  /** Wipes a key; its id is refused from now on. */
  removeKey(id: number): void;
  /** Encrypts in place and writes the tags; how many operations went well. */
  seal(batch: AeadBatch, arena: Bytes): number;
  /** Checks the tags and decrypts in place; how many went well. The others stay as they were. */
  open(batch: AeadBatch, arena: Bytes): number;
}

/** A batch for where there is no native one. */
export class PortableBatch implements AeadBatch {
  readonly capacity: number;
  readonly ops: Uint32Array<ArrayBuffer>;
  #count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.ops = new Uint32Array(capacity * AEAD_OP_WORDS);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.capacity;
  }

  clear(): void {
    this.#count = 0;
  }

  add(
    key: number,
    number: number,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): number {
    if (this.isFull) {
      throw new RangeError(
        `Cannot add to an AEAD batch as it must hold at most ${this.capacity} operations`,
      );
    }
    // A number that was rounded could be one that was used already.
    if (!Number.isSafeInteger(number) || number < 0) {
      throw new RangeError(
        `Cannot make a nonce as its number must be 0 to 2^53 - 1: current value is ${number}`,
      );
    }
    const at = this.#count * AEAD_OP_WORDS;
    const { ops } = this;
    ops[at] = number;
    ops[at + 1] = number / TWO_32;
    ops[at + 2] = key;
    ops[at + 3] = aad;
    ops[at + 4] = aadBytes;
    ops[at + 5] = text;
    ops[at + 6] = textBytes;
    ops[at + RESULT_WORD] = 0;
    return this.#count++;
  }

  result(i: number): number {
    return this.ops[i * AEAD_OP_WORDS + RESULT_WORD]! | 0;
  }
}

/** The portable implementation. It allocates for every operation. */
export class PortableAead implements Aead {
  readonly keysMax: number;
  readonly #keys: (Bytes | undefined)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  readonly #nonce = new Uint8Array(12);
  readonly #nonceView = new DataView(this.#nonce.buffer);

  constructor(keysMax: number) {
    if (!Number.isInteger(keysMax) || keysMax < 1 || keysMax > KEYS_MAX) {
      throw new RangeError(
        `Cannot make an AEAD table as 'keysMax' must be 1 to ${KEYS_MAX}: ` +
          `current value is ${keysMax}`,
      );
    }
    this.keysMax = keysMax;
  }

  addKey(key: Bytes): number {
    if (key.length !== KEY_BYTES) {
      throw new RangeError(
        `Cannot add an AEAD key as it must have ${KEY_BYTES} bytes: current value is ${key.length}`,
      );
    }
    const slot = this.#free.pop() ?? this.#keys.length;
    if (slot === this.keysMax) {
      throw new RangeError(
        `Cannot add an AEAD key as the table holds at most ${this.keysMax} keys`,
      );
    }
    this.#keys[slot] = Uint8Array.from(key);
    this.#generations[slot] ??= 0;
    return slot | this.#generations[slot] << SLOT_BITS;
  }

  removeKey(id: number): void {
    const key = this.#find(id);
    if (key === undefined) {
      throw new RangeError(`Cannot remove AEAD key ${id} as there must be one of this id`);
    }
    const slot = id & (KEYS_MAX - 1);
    key.fill(0);
    this.#keys[slot] = undefined;
    this.#generations[slot] = (this.#generations[slot]! + 1) & GENERATION_MAX;
    this.#free.push(slot);
  }

  /** Wipes all keys. */
  close(): void {
    for (const key of this.#keys) key?.fill(0);
    this.#keys.length = this.#generations.length = this.#free.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  seal(batch: AeadBatch, arena: Bytes): number {
    return this.#run(batch, arena, true);
  }

  open(batch: AeadBatch, arena: Bytes): number {
    return this.#run(batch, arena, false);
  }

  #find(id: number): Bytes | undefined {
    const slot = id & (KEYS_MAX - 1);
    return id >= 0 && this.#generations[slot] === id >>> SLOT_BITS ? this.#keys[slot] : undefined;
  }

  #run(batch: AeadBatch, arena: Bytes, isSeal: boolean): number {
    let done = 0;
    for (let i = 0; i < batch.count; i++) {
      const at = i * AEAD_OP_WORDS;
      const result = this.#runOne(batch.ops, at, arena, isSeal);
      batch.ops[at + RESULT_WORD] = result;
      if (result === 0) done++;
    }
    return done;
  }

  #runOne(ops: Uint32Array, at: number, arena: Bytes, isSeal: boolean): number {
    const aad = ops[at + 3]!, aadBytes = ops[at + 4]!;
    const text = ops[at + 5]!, textBytes = ops[at + 6]!;
    const aadEnd = aad + aadBytes;
    const end = text + textBytes + TAG_BYTES;
    if (aadEnd > arena.length || end > arena.length) return AEAD_BAD_OFFSETS;
    // What is sealed would be changed by the sealing.
    if (aadBytes > 0 && aad < end && text < aadEnd) return AEAD_BAD_OFFSETS;
    const key = this.#find(ops[at + 2]! | 0);
    if (key === undefined) return AEAD_NO_KEY;
    this.#nonceView.setUint32(4, ops[at + 1]!);
    this.#nonceView.setUint32(8, ops[at]!);
    const cipher = chacha20poly1305(key, this.#nonce, arena.subarray(aad, aadEnd));
    const plain = arena.subarray(text, text + textBytes);
    const sealed = arena.subarray(text, end);
    if (isSeal) {
      cipher.encrypt(plain, sealed);
      return 0;
    }
    try {
      cipher.decrypt(sealed, plain);
      return 0;
    } catch {
      // The lengths are ours, so this is the tag.
      return AEAD_BAD_TAG;
    }
  }
}
