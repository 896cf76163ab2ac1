/**
 * ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM in batches, in place, by the native library.
 *
 * The nonce is 32 zero bits and a 64-bit number. A number must never repeat under one key: it gives
 * away both texts and lets anybody forge. Nothing here counts numbers; the session does.
 */

import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import type { Native } from "./native.ts";

export const aeadKeyBytes = 32;
/** enum ph_cipher. */
const aeadChacha20 = 1;
export const aeadAes256Gcm = 2;
export const aeadTagBytes = 16;
/** PH_AEAD_KEYS_MAX. */
export const aeadKeysMax = 1 << 20;
/** Operations of one batch: a bound on memory, not of the library. */
export const aeadBatchMax = 65536;

// struct ph_aead_op in words: number (low, high), key, aad, aad_len, text, text_len, result.
export const aeadOpWords = 8;
/** Where an operation says in which place its associated data begins. */
export const aeadOpAadWord = 3;
const resultWord = 7;

/** What this machine has of its own for ciphers, as the library sees it. */
export function cipherMachine(
  native: Native,
): { readonly hasAes: boolean; readonly hasWideChacha: boolean } {
  const bits = native.symbols.ph_aead_machine();
  return { hasAes: (bits & 1) !== 0, hasWideChacha: (bits & 2) !== 0 };
}

/** Operations on one arena: what to seal or open, and how it went. Allocated once. */
export class AeadBatch {
  readonly capacity: number;
  /** struct ph_aead_op[capacity]. */
  readonly ops: Uint32Array<ArrayBuffer>;
  #count = 0;

  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > aeadBatchMax) {
      throw new RangeError(
        `Cannot make an AEAD batch as 'capacity' must be 1 to ${aeadBatchMax}: ` +
          `current value is ${capacity}`,
      );
    }
    this.capacity = capacity;
    this.ops = new Uint32Array(capacity * aeadOpWords);
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

  /**
   * Adds an operation; its index. `aad` and `text` are offsets in the arena. The tag stands right
   * behind the text, and `textBytes` does not count it.
   */
  add(
    key: number,
    number: number,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): number {
    if (this.#count === this.capacity) {
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
    const i = this.#count++;
    const at = i * aeadOpWords;
    this.ops[at] = number;
    this.ops[at + 1] = number / 0x1_0000_0000;
    this.ops[at + 2] = key;
    this.ops[at + 3] = aad;
    this.ops[at + 4] = aadBytes;
    this.ops[at + 5] = text;
    this.ops[at + 6] = textBytes;
    this.ops[at + resultWord] = 0;
    return i;
  }

  /** After seal or open: 0, or -EBADMSG (tag), -EINVAL (offsets), -ENOENT (key). */
  result(i: number): number {
    return this.ops[i * aeadOpWords + resultWord]! | 0;
  }
}

/** Keys, in memory that is wiped, locked and left out of core dumps. Of one thread only. */
export class AeadTable extends Handle {
  readonly #native: Native;
  readonly #table: Deno.PointerObject;
  readonly keysMax: number;

  constructor(native: Native, keysMax: number) {
    super("AEAD table");
    if (!Number.isInteger(keysMax) || keysMax < 1 || keysMax > aeadKeysMax) {
      throw new RangeError(
        `Cannot open an AEAD table as 'keysMax' must be 1 to ${aeadKeysMax}: ` +
          `current value is ${keysMax}`,
      );
    }
    const error = new Int32Array(1);
    const table = native.symbols.ph_aead_open_table(keysMax, error);
    // The library sets the error whenever it gives no table; 0 here would be its bug.
    checked(error[0]!, "open AEAD table");
    if (table === null) throw new Error("Cannot open an AEAD table as the library gave none");
    this.#native = native;
    this.#table = table;
    this.keysMax = keysMax;
  }

  /** Copies a key in; its id, which is never that of a key removed a short time ago. */
  addKey(key: Uint8Array<ArrayBuffer>, cipher: number = aeadChacha20): number {
    this.assertOpen();
    if (key.length !== aeadKeyBytes) {
      throw new RangeError(
        `Cannot add an AEAD key as it must have ${aeadKeyBytes} bytes: ` +
          `current value is ${key.length}`,
      );
    }
    return checked(
      this.#native.symbols.ph_aead_key_add(this.#table, key, cipher),
      "add AEAD key",
      () => `the table holds at most ${this.keysMax} keys`,
    );
  }

  /** Wipes a key; its id is refused from now on. */
  removeKey(id: number): void {
    this.assertOpen();
    checked(
      this.#native.symbols.ph_aead_key_remove(this.#table, id),
      () => `remove AEAD key ${id}`,
    );
  }

  /** Encrypts in place and writes the tags; how many operations went well. */
  seal(batch: AeadBatch, arena: Uint8Array<ArrayBuffer>): number {
    this.assertOpen();
    return this.#native.symbols.ph_aead_seal(
      this.#table,
      arena,
      arena.length,
      batch.ops,
      batch.count,
    );
  }

  /** Checks the tags and decrypts in place; how many went well. The others stay as they were. */
  open(batch: AeadBatch, arena: Uint8Array<ArrayBuffer>): number {
    this.assertOpen();
    return this.#native.symbols.ph_aead_open(
      this.#table,
      arena,
      arena.length,
      batch.ops,
      batch.count,
    );
  }

  protected release(): void {
    this.#native.symbols.ph_aead_close_table(this.#table);
  }
}
