/** A key of SipHash that is derived from a secret, for one purpose. */

import { SIP_KEY_WORDS, sipKey } from "../wire/siphash.ts";
import type { Primitives } from "./primitives.ts";

const NO_SALT = new Uint8Array(0);
const SIP_KEY_BYTES = 16;

/** HKDF(secret, "", label, 16), in words. */
export function sipKeyOf(
  primitives: Primitives,
  secret: Uint8Array,
  purpose: Uint8Array,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(SIP_KEY_WORDS);
  const key = primitives.hkdf(secret, NO_SALT, purpose, SIP_KEY_BYTES);
  sipKey(key, 0, words);
  key.fill(0);
  return words;
}
