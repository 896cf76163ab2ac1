/**
 * The cryptography under the handshake, behind one interface: SHA-256 (RFC 6234), HMAC (RFC 2104),
 * HKDF (RFC 5869), X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439), and randomness.
 *
 * The workers use a native implementation; tests have one in TypeScript beside it.
 * Misuse to avoid: sealing two texts under one key and number; using what x25519() gives before
 * looking whether it is all zero (`isZero`).
 */

export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * What the handshake is made of. Results are new arrays, or the one given as `out`, which has their
 * length; the caller owns and wipes them. A server gives arrays of its own: see Scratch.
 */
export interface Primitives {
  sha256(data: Uint8Array): Bytes;
  hmacSha256(key: Uint8Array, data: Uint8Array, out?: Bytes): Bytes;
  hkdf(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number, out?: Bytes): Bytes;
  /** The public key of 32 random bytes. */
  x25519Public(privateKey: Uint8Array, out?: Bytes): Bytes;
  /** The shared secret; all zero for a public key of small order, which the caller refuses. */
  x25519(privateKey: Uint8Array, publicKey: Uint8Array, out?: Bytes): Bytes;
  /** Fills the array with random bytes that nobody can foresee. */
  random(bytes: Bytes): void;
  /** Seals `textBytes` at `text` in place and writes the tag behind; the nonce is zero. */
  aeadSeal(
    key: Uint8Array,
    arena: Uint8Array,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): void;
  /** The reverse; false, and all left as it was, when the tag is wrong. */
  aeadOpen(
    key: Uint8Array,
    arena: Uint8Array,
    aad: number,
    aadBytes: number,
    text: number,
    textBytes: number,
  ): boolean;
}

/** Compares in a time that does not depend on where the difference is. */
export function equalBytes(
  a: Uint8Array,
  aAt: number,
  b: Uint8Array,
  bAt: number,
  length: number,
): boolean {
  let difference = aAt + length > a.length || bAt + length > b.length ? 1 : 0;
  for (let i = 0; i < length; i++) difference |= (a[aAt + i] ?? 0) ^ (b[bAt + i] ?? 0);
  return difference === 0;
}

/** Whether all bytes are zero, in a time that does not depend on them. */
export function isZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (let i = 0; i < bytes.length; i++) any |= bytes[i]!;
  return any === 0;
}

/** The bytes one behind the other. */
export function concatBytes(...parts: readonly Uint8Array[]): Bytes {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const encoder = new TextEncoder();

/** A label of the protocol as bytes. */
export function label(text: string): Bytes {
  return encoder.encode(text);
}
