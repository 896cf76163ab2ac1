/**
 * The keys of a session, and the ones that follow them.
 *
 *     okm  = HKDF(X25519 || user_key, client_public || server_public, info, 64)
 *     info = "phantom-session-v5" || u8(offered) || u8(chosen)
 *     next = HKDF(current, "", "phantom-next-v5", 32)
 *
 * Forward secrecy: who learns PSK and user key later can't open what went before. So the ephemeral
 * private keys are wiped once this has run, and an old key once its successor is in use.
 */

import { copyBytes } from "../base/copy.ts";
import { KEY_BYTES } from "../wire/limits.ts";
import type { Cipher } from "./ciphers.ts";
import { type Bytes, concatBytes, isZero, label, type Primitives } from "./primitives.ts";

const SESSION_LABEL = label("phantom-session-v5");
const NEXT_LABEL = label("phantom-next-v5");
const NO_SALT = new Uint8Array(0);
// One thread, no re-entry; wiped after use. See handshake.ts.
// The label, and behind it what was offered and what was chosen.
const info = concatBytes(SESSION_LABEL, new Uint8Array(2));
const shared: Bytes = new Uint8Array(KEY_BYTES);
const ikm: Bytes = new Uint8Array(2 * KEY_BYTES);
const salt: Bytes = new Uint8Array(2 * KEY_BYTES);
const okm: Bytes = new Uint8Array(2 * KEY_BYTES);

/** Both directions' keys, in memory that is wiped by hand. */
export class SessionKeys {
  readonly clientToServer: Bytes = new Uint8Array(KEY_BYTES);
  readonly serverToClient: Bytes = new Uint8Array(KEY_BYTES);

  wipe(): void {
    this.clientToServer.fill(0);
    this.serverToClient.fill(0);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

/** Who is asked for session keys: the same for client and server. */
export interface KeyAgreement {
  /** Of one's own side; the caller wipes it afterwards. */
  readonly privateKey: Uint8Array;
  readonly peerPublic: Uint8Array;
  readonly clientPublic: Uint8Array;
  readonly serverPublic: Uint8Array;
  readonly userKey: Uint8Array;
  /** What the HELLO offered, and the ACCEPT chose. */
  readonly offered: number;
  readonly chosen: Cipher;
}

/** Derives a session's keys; false, with no keys, for a public key of small order. */
export function deriveSessionKeys(
  primitives: Primitives,
  agreement: KeyAgreement,
  keys: SessionKeys,
): boolean {
  const { privateKey, peerPublic, clientPublic, serverPublic, userKey } = agreement;
  primitives.x25519(privateKey, peerPublic, shared);
  if (isZero(shared)) return false;
  copyBytes(ikm, 0, shared, 0, KEY_BYTES);
  copyBytes(ikm, KEY_BYTES, userKey, 0, KEY_BYTES);
  copyBytes(salt, 0, clientPublic, 0, KEY_BYTES);
  copyBytes(salt, KEY_BYTES, serverPublic, 0, KEY_BYTES);
  info[SESSION_LABEL.length] = agreement.offered;
  info[SESSION_LABEL.length + 1] = agreement.chosen;
  primitives.hkdf(ikm, salt, info, 2 * KEY_BYTES, okm);
  copyBytes(keys.clientToServer, 0, okm, 0, KEY_BYTES);
  copyBytes(keys.serverToClient, 0, okm, KEY_BYTES, KEY_BYTES);
  shared.fill(0);
  ikm.fill(0);
  okm.fill(0);
  return true;
}

/** The key that follows `current`, put into `next`, which may be the same array. */
export function deriveNextKey(primitives: Primitives, current: Uint8Array, next: Bytes): void {
  primitives.hkdf(current, NO_SALT, NEXT_LABEL, KEY_BYTES, shared);
  next.set(shared);
  shared.fill(0);
}
