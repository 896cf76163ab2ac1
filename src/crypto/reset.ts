/**
 * RESET: the server has no session for a DATA packet, and says so without one.
 *
 *     0         16      32                                                             tag 16
 *     | header  | salt  | ciphertext of:
 *                         time_ms u64 | session u48 | number u48 | reset_token 16 | reason u8
 *
 *     key         = HKDF(window_key, salt, "phantom-reset-v5", 32)
 *     reset_token = HMAC-SHA256(server_secret, "phantom-token-v5" ||
 *                               u48(server_session) || u32(generation))[0..16]
 *
 * Everybody with the PSK can seal one. What makes it the server's is the token, which only it and
 * the client of that session know; so the client compares it, and looks whether it sent the number.
 * The generation (see session_ids.ts) makes that of an id's next holder another one.
 */

import { Reader, Writer } from "../wire/cursor.ts";
import { KEY_BYTES, RESET_TOKEN_BYTES, TAG_BYTES } from "../wire/limits.ts";
import { PacketKind, RESET_BYTES, RESET_TEXT_AT } from "../wire/packet.ts";
import {
  hasShape,
  openPacket,
  OpenResult,
  saltOf,
  sealPacket,
  writeSaltedHeader,
} from "./handshake.ts";
import { type Bytes, concatBytes, equalBytes, label, type Primitives } from "./primitives.ts";
import type { Tskd } from "./tskd.ts";

const RESET_LABEL = label("phantom-reset-v5");
const TOKEN_LABEL = label("phantom-token-v5");
// One thread, no re-entry. The label, and behind it session and generation.
const tokenText = concatBytes(TOKEN_LABEL, new Uint8Array(6 + 4));
const tokenHash: Bytes = new Uint8Array(32);

/** Why a session is gone: append only. */
export const ResetReason = { unknownSession: 0, shutdown: 1 } as const;

/** What a RESET says. */
export interface ResetFields {
  /** Unix time in ms. */
  readonly timeMs: number;
  /** Both of the packet that caused it. */
  readonly session: number;
  readonly number: number;
  readonly token: Uint8Array;
  readonly reason: number;
}

/** What was found in a RESET; used again for the next. */
export class ResetOpened {
  timeMs = 0;
  session = 0;
  number = 0;
  readonly token: Bytes = new Uint8Array(RESET_TOKEN_BYTES);
  reason = 0;

  /** Whether it is about this session, by its server; its number is still to be looked at. */
  isFor(serverSession: number, token: Uint8Array): boolean {
    return this.session === serverSession && token.length === RESET_TOKEN_BYTES &&
      equalBytes(this.token, 0, token, 0, RESET_TOKEN_BYTES);
  }
}

/** The token of a session; `secret` is the server's, and outlives the process. */
export function resetToken(
  primitives: Primitives,
  secret: Uint8Array,
  session: number,
  generation: number,
): Bytes {
  const text = new Writer(tokenText, TOKEN_LABEL.length);
  text.u48(session);
  text.u32(generation);
  return primitives.hmacSha256(secret, tokenText, tokenHash).slice(0, RESET_TOKEN_BYTES);
}

/** Builds a RESET in the present window; its length, 0 when there is no room. */
export function buildReset(
  primitives: Primitives,
  tskd: Tskd,
  fields: ResetFields,
  arena: Bytes,
  at: number,
): number {
  if (at + RESET_BYTES > arena.length) return 0;
  writeSaltedHeader(primitives, arena, at, 0, PacketKind.reset);
  const text = new Writer(arena, at + RESET_TEXT_AT, at + RESET_BYTES - TAG_BYTES);
  text.u64(fields.timeMs);
  text.u48(fields.session);
  text.u48(fields.number);
  text.copy(fields.token, 0, RESET_TOKEN_BYTES);
  text.u8(fields.reason);
  const key = resetKey(primitives, tskd, tskd.current, arena, at);
  return sealPacket(primitives, key, arena, at, RESET_TEXT_AT, text.at);
}

/** Opens in place a RESET whose header was unmasked under `window`. */
export function openReset(
  primitives: Primitives,
  tskd: Tskd,
  arena: Bytes,
  at: number,
  length: number,
  window: number,
  opened: ResetOpened,
): OpenResult {
  const { reset } = PacketKind;
  if (length !== RESET_BYTES || !hasShape(arena, at, length, RESET_BYTES, reset, 0)) {
    return OpenResult.shape;
  }
  if (!tskd.accepts(window)) return OpenResult.time;
  const key = resetKey(primitives, tskd, window, arena, at);
  if (!openPacket(primitives, key, arena, at, RESET_TEXT_AT, length)) return OpenResult.tag;
  const text = new Reader(arena, at + RESET_TEXT_AT, at + RESET_BYTES - TAG_BYTES);
  opened.timeMs = text.u64();
  opened.session = text.u48();
  opened.number = text.u48();
  text.copyTo(opened.token, 0, RESET_TOKEN_BYTES);
  opened.reason = text.u8();
  return text.failed ? OpenResult.contents : OpenResult.ok;
}

function resetKey(
  primitives: Primitives,
  tskd: Tskd,
  window: number,
  arena: Bytes,
  at: number,
): Bytes {
  return primitives.hkdf(tskd.windowKey(window), saltOf(arena, at), RESET_LABEL, KEY_BYTES);
}
