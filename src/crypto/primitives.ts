/**
 * The cryptography under the handshake, behind one interface: SHA-256 (RFC 6234), HMAC (RFC 2104),
 * HKDF (RFC 5869), X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439), and randomness.
 *
 * Here is the portable implementation; a native one of the same interface may stand in for it.
 * Misuse to avoid: sealing two texts under one key and number; using what x25519() gives before
 * looking whether it is all zero (`isZero`).
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { TAG_BYTES } from "../wire/limits.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

/** What the handshake is made of. All results are new arrays that the caller owns and wipes. */
export interface Primitives {
  sha256(data: Uint8Array): Bytes;
  hmacSha256(key: Uint8Array, data: Uint8Array): Bytes;
  hkdf(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Bytes;
  /** The public key of 32 random bytes. */
  x25519Public(privateKey: Uint8Array): Bytes;
  /** The shared secret; all zero for a public key of small order, which the caller refuses. */
  x25519(privateKey: Uint8Array, publicKey: Uint8Array): Bytes;
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

/** A key of a handshake seals one text: it is unique by its salt. */
const ZERO_NONCE = new Uint8Array(12);

// What stands in front of the 32 bytes in DER (RFC 8410): node:crypto takes X25519 keys so.
const PRIVATE_DER = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_DER = Buffer.from("302a300506032b656e032100", "hex");

/**
 * The portable implementation. `random` is crypto.getRandomValues in earnest, a seeded source in
 * tests. X25519 is the runtime's own (a tenth of the time of one in JavaScript).
 */
export function portablePrimitives(random: (bytes: Bytes) => void): Primitives {
  return {
    sha256: (data) => sha256(data),
    hmacSha256: (key, data) => hmac(sha256, key, data),
    hkdf: portableHkdf,
    x25519Public: portablePublic,
    x25519: portableShared,
    random,
    aeadSeal(key, arena, aad, aadBytes, text, textBytes) {
      const cipher = chacha20poly1305(key, ZERO_NONCE, arena.subarray(aad, aad + aadBytes));
      const plain = arena.subarray(text, text + textBytes);
      cipher.encrypt(plain, arena.subarray(text, text + textBytes + TAG_BYTES));
    },
    aeadOpen(key, arena, aad, aadBytes, text, textBytes) {
      const cipher = chacha20poly1305(key, ZERO_NONCE, arena.subarray(aad, aad + aadBytes));
      const sealed = arena.subarray(text, text + textBytes + TAG_BYTES);
      try {
        cipher.decrypt(sealed, arena.subarray(text, text + textBytes));
        return true;
      } catch {
        // The lengths are ours, so this is the tag.
        return false;
      }
    },
  };
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

function portableHkdf(
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Bytes {
  const prk = extract(sha256, ikm, salt);
  const okm = expand(sha256, prk, info, length);
  prk.fill(0);
  return okm;
}

function portablePublic(privateKey: Uint8Array): Bytes {
  const key = privateKeyOf(privateKey);
  return lastBytes(createPublicKey(key).export({ format: "der", type: "spki" }));
}

function portableShared(privateKey: Uint8Array, publicKey: Uint8Array): Bytes {
  const peer = {
    key: Buffer.concat([PUBLIC_DER, publicKey]),
    format: "der",
    type: "spki",
  } as const;
  try {
    const shared = diffieHellman({
      privateKey: privateKeyOf(privateKey),
      publicKey: createPublicKey(peer),
    });
    return lastBytes(shared);
  } catch {
    // Some libraries refuse a key of small order by themselves.
    return new Uint8Array(32);
  }
}

function privateKeyOf(bytes: Uint8Array) {
  const der = Buffer.concat([PRIVATE_DER, bytes]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  return key;
}

function lastBytes(buffer: Uint8Array): Bytes {
  const bytes = new Uint8Array(32);
  bytes.set(buffer.subarray(buffer.length - 32));
  buffer.fill(0);
  return bytes;
}
