/**
 * The challenge of an ACCEPT: what proves that a client is at the address that the ACCEPT was sent
 * to. It is made of session, address and window, so that the answer to any copy counts and nothing
 * has to be kept of it.
 *
 *     SipHash(HKDF(secret, "", "phantom-path-v5", 16), session u48 || address || window u48)
 */

import { Writer } from "../wire/cursor.ts";
import { sipHash } from "../wire/siphash.ts";
import { label, type Primitives } from "./primitives.ts";
import { sipKeyOf } from "./sip_secret.ts";

const PATH_LABEL = label("phantom-path-v5");
const ADDRESS_WORDS = 5;
// One thread, no re-entry.
const text = new Uint8Array(6 + 4 * ADDRESS_WORDS + 6);
const hash = new Uint32Array(2);

export class PathTokens {
  /** Of the last call. */
  high = 0;
  low = 0;
  readonly #key: Uint32Array<ArrayBuffer>;

  constructor(primitives: Primitives, secret: Uint8Array) {
    this.#key = sipKeyOf(primitives, secret, PATH_LABEL);
  }

  /** Makes the challenge for the address in the first words of a route (ffi/endpoint.ts). */
  make(session: number, route: Uint32Array, window: number): void {
    const writer = new Writer(text);
    writer.u48(session);
    for (let i = 0; i < ADDRESS_WORDS; i++) writer.u32(route[i]!);
    writer.u48(window);
    sipHash(this.#key, 0, text, 0, text.length, hash);
    this.high = hash[1]!;
    this.low = hash[0]!;
  }

  wipe(): void {
    this.#key.fill(0);
  }
}
