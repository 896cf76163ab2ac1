/**
 * What handshakes are made of, from the native library: X25519 (RFC 7748), SHA-256, HMAC-SHA256
 * (RFC 2104), HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439) and the kernel's random bytes.
 *
 * The nonce of the AEAD here is twelve zero bytes: a key must seal one text and never a second,
 * which would give both away and let anybody forge. Results are new arrays, or those given, the
 * caller's to wipe: all this is for handshakes, not for each packet. An array that goes to native
 * code leaves the heap for good, with memory of its own: dear for one that is used once.
 */

import { aeadKeyBytes } from "./aead.ts";
import { checked } from "./errors.ts";
import type { Native } from "./native.ts";

export const x25519Bytes = 32;
export const sha256Bytes = 32;
/** PH_HKDF_MAX: 255 hashes. */
export const hkdfBytesMax = 255 * sha256Bytes;

type Bytes = Uint8Array<ArrayBuffer>;

/** The primitives, by the native library. */
export class NativePrimitives {
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
  }

  sha256(data: Uint8Array): Bytes {
    const out = new Uint8Array(sha256Bytes);
    this.#native.symbols.ph_sha256(own(data), data.length, out);
    return out;
  }

  hmacSha256(key: Uint8Array, data: Uint8Array, out: Bytes = new Uint8Array(sha256Bytes)): Bytes {
    assertLength("a hash", out, sha256Bytes);
    const { symbols } = this.#native;
    symbols.ph_hmac_sha256(own(key), key.length, own(data), data.length, out);
    return out;
  }

  hkdf(
    ikm: Uint8Array,
    salt: Uint8Array,
    info: Uint8Array,
    length: number,
    given?: Bytes,
  ): Bytes {
    if (!Number.isInteger(length) || length < 0 || length > hkdfBytesMax) {
      throw new RangeError(
        `Cannot derive a key as its length must be 0 to ${hkdfBytesMax}: ` +
          `current value is ${length}`,
      );
    }
    const out = given ?? new Uint8Array(length);
    assertLength("a derived key", out, length);
    const result = this.#native.symbols.ph_hkdf(
      own(ikm),
      ikm.length,
      own(salt),
      salt.length,
      own(info),
      info.length,
      out,
      length,
    );
    checked(result, "derive a key");
    return out;
  }

  /** The public key of any 32 random bytes. */
  x25519Public(privateKey: Uint8Array, out: Bytes = new Uint8Array(x25519Bytes)): Bytes {
    assertLength("an X25519 private key", privateKey, x25519Bytes);
    assertLength("an X25519 public key", out, x25519Bytes);
    this.#native.symbols.ph_x25519_public(own(privateKey), out);
    return out;
  }

  /** The shared secret; all zero for a public key of small order, which is to be refused. */
  x25519(
    privateKey: Uint8Array,
    publicKey: Uint8Array,
    out: Bytes = new Uint8Array(x25519Bytes),
  ): Bytes {
    assertLength("an X25519 private key", privateKey, x25519Bytes);
    assertLength("an X25519 public key", publicKey, x25519Bytes);
    assertLength("an X25519 secret", out, x25519Bytes);
    this.#native.symbols.ph_x25519(own(privateKey), own(publicKey), out);
    return out;
  }

  /** Fills the array with the kernel's random bytes. */
  random(bytes: Bytes): void {
    checked(this.#native.symbols.ph_random(bytes, bytes.length), "draw random bytes");
  }

  /**
   * Seals `textBytes` at `text` in place and writes the tag behind. Once for each key. The
   * associated data may lie anywhere else in the arena.
   */
  aeadSeal(
    key: Uint8Array,
    arena: Uint8Array,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): void {
    assertLength("an AEAD key", key, aeadKeyBytes);
    // >>> 0: below zero becomes what no arena has, for the call to refuse like any other.
    const result = this.#native.symbols.ph_aead_seal_once(
      own(key),
      own(arena),
      arena.length,
      aad >>> 0,
      aadBytes >>> 0,
      text >>> 0,
      textBytes >>> 0,
    );
    checked(result, () => `seal ${textBytes} bytes at ${text} of ${arena.length}`);
  }

  /**
   * The reverse. False, and all left as it was, when the tag is wrong, or when text, tag and
   * associated data can't lie so in the arena.
   */
  aeadOpen(
    key: Uint8Array,
    arena: Uint8Array,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): boolean {
    assertLength("an AEAD key", key, aeadKeyBytes);
    const { symbols } = this.#native;
    return symbols.ph_aead_open_once(
      own(key),
      own(arena),
      arena.length,
      aad >>> 0,
      aadBytes >>> 0,
      text >>> 0,
      textBytes >>> 0,
    ) === 0;
  }
}

/** Bytes as a call takes them. What is shared between threads would do too: C reads it once. */
function own(bytes: Uint8Array): Bytes {
  return bytes as Bytes;
}

function assertLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw new RangeError(
    `Cannot use ${what} as it must have ${length} bytes: current value is ${bytes.length}`,
  );
}
