/** The cipher that a configuration asks for, as the tunnel wants it. */

import { cipherMachine } from "../../ffi/aead.ts";
import type { Native } from "../../ffi/native.ts";
import type { Config } from "../config/mod.ts";
import { Cipher } from "../crypto/ciphers.ts";

/** For the start of a tunnel: nothing for "auto". */
export function cipherOf(native: Native, cipher: Config["cipher"]): { cipher?: Cipher } {
  if (cipher === "auto") return {};
  if (cipher === "chacha20-poly1305") return { cipher: Cipher.chacha20 };
  if (cipherMachine(native).hasAes) return { cipher: Cipher.aes256 };
  throw new RangeError(
    "Cannot use the cipher as this machine must have AES instructions: " +
      `current value is ${cipher}; set cipher to auto`,
  );
}
