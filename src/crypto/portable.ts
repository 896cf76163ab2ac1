/**
 * The portable implementation of what primitives.ts asks for. In a file of its own: the runtime's
 * node:crypto takes tens of milliseconds to come up, and the workers have no use for it.
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { TAG_BYTES } from "../wire/limits.ts";
import type { Bytes, Primitives } from "./primitives.ts";

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
    hmacSha256: (key, data, out) => into(hmac(sha256, key, data), out),
    hkdf: portableHkdf,
    x25519Public: (privateKey, out) => into(portablePublic(privateKey), out),
    x25519: (privateKey, publicKey, out) => into(portableShared(privateKey, publicKey), out),
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

function portableHkdf(
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
  out?: Bytes,
): Bytes {
  const prk = extract(sha256, ikm, salt);
  const okm = expand(sha256, prk, info, length);
  prk.fill(0);
  return into(okm, out);
}

/** Moves a result to where it was asked for. */
function into(result: Bytes, out: Bytes | undefined): Bytes {
  if (out === undefined) return result;
  out.set(result);
  result.fill(0);
  return out;
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
