/**
 * AEADs in batches, in place, for DATA packets: what the native table (ffi/aead.ts) offers, which
 * is ChaCha20-Poly1305 (RFC 8439) and, on some machines, AES-256-GCM. The nonce is 32 zero bits and
 * a 64-bit number: a number must never repeat under one key. Nothing here counts numbers; the
 * session does.
 */

import type { Cipher } from "./ciphers.ts";
import type { Bytes } from "./primitives.ts";

/** Operations on one arena: what to seal or open, and how it went. */
export interface AeadBatch {
  readonly capacity: number;
  /** Eight words each: struct ph_aead_op. */
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
  addKey(key: Bytes, cipher: Cipher): number;
  /** Wipes a key; its id is refused from now on. */
  removeKey(id: number): void;
  /** Encrypts in place and writes the tags; how many operations went well. */
  seal(batch: AeadBatch, arena: Bytes): number;
  /** Checks the tags and decrypts in place; how many went well. The others stay as they were. */
  open(batch: AeadBatch, arena: Bytes): number;
}
