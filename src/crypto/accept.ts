/**
 * ACCEPT: the server's answer to a HELLO.
 *
 *     0         16      32                                                             tag 16
 *     | header  | salt  | ciphertext of:
 *                         version u8 = 5 | flags u8 | time_ms u64 | server_session u48 |
 *                         server_public 32 | reset_token 16 | max_datagram u16 | idle_s u16 |
 *                         server_up_kbps u32 | server_down_kbps u32 |
 *                         params_len u16 | parameters | pad_len u16 | padding | frames
 *
 *     key = HKDF(window_key || user_key, client_public || salt, "phantom-accept-v5", 32)
 *
 * The nonce is zero: each ACCEPT, also a repeated one, takes a fresh salt from `random`.
 */

import { copyBytes } from "../base/copy.ts";
import { Reader, Writer } from "../wire/cursor.ts";
import { KEY_BYTES, RESET_TOKEN_BYTES, SALT_BYTES, TAG_BYTES } from "../wire/limits.ts";
import { ACCEPT_BYTES_MIN, ACCEPT_TEXT_AT, PacketKind, SALT_AT } from "../wire/packet.ts";
import {
  handshakeKey,
  hasShape,
  opening,
  openPacket,
  OpenResult,
  readOpening,
  sealPacket,
  writeOpening,
  writePadding,
  writeSaltedHeader,
} from "./handshake.ts";
import type { Cipher } from "./ciphers.ts";
import { Parameters, parametersBytes, readParameters, writeParameters } from "./parameters.ts";
import { type Bytes, label, type Primitives } from "./primitives.ts";
import type { Tskd } from "./tskd.ts";

const ACCEPT_LABEL = label("phantom-accept-v5");
// One thread, no re-entry.
const acceptSalt: Bytes = new Uint8Array(KEY_BYTES + SALT_BYTES);

/** Whom an ACCEPT is for. */
export interface AcceptPeer {
  readonly userKey: Uint8Array;
  readonly clientSession: number;
  readonly clientPublic: Uint8Array;
}

export const AcceptFlag = {
  /** The HELLO's frames were not run, and will not be. */
  notRun: 1,
  /** There is no session: a CLOSE among the frames says why. */
  refused: 2,
} as const;
const FLAGS = AcceptFlag.notRun | AcceptFlag.refused;

/** What an ACCEPT says. */
export interface AcceptFields {
  /** Bits of AcceptFlag. */
  readonly flags: number;
  /** Unix time in ms. */
  readonly timeMs: number;
  /** 1 to 2^48 - 1; 0 in a refusal. */
  readonly serverSession: number;
  readonly serverPublic: Uint8Array;
  readonly resetToken: Uint8Array;
  /** Largest packet that the server takes. */
  readonly maxDatagram: number;
  readonly idleS: number;
  /** 0: no limit. */
  readonly upKbps: number;
  readonly downKbps: number;
  readonly chosen: Cipher;
  /** Frames beyond the table that the server understands, as bits. */
  readonly understood: number;
  readonly frames: Uint8Array;
}

/** What was found in an ACCEPT; used again for the next. */
export class AcceptOpened {
  flags = 0;
  timeMs = 0;
  serverSession = 0;
  readonly serverPublic: Bytes = new Uint8Array(KEY_BYTES);
  readonly resetToken: Bytes = new Uint8Array(RESET_TOKEN_BYTES);
  maxDatagram = 0;
  idleS = 0;
  upKbps = 0;
  downKbps = 0;
  readonly parameters: Parameters = new Parameters();
  framesAt = 0;
  framesBytes = 0;
}

/** Builds an ACCEPT in the present window; its length, 0 when it doesn't fit into `room`. */
export function buildAccept(
  primitives: Primitives,
  tskd: Tskd,
  peer: AcceptPeer,
  fields: AcceptFields,
  arena: Bytes,
  at: number,
  room: number,
): number {
  const isRefusal = (fields.flags & AcceptFlag.refused) !== 0;
  const parameters = isRefusal ? 0 : parametersBytes(fields.understood);
  const spare = room - ACCEPT_BYTES_MIN - parameters - fields.frames.length;
  if (spare < 0 || at + room > arena.length) return 0;
  writeSaltedHeader(primitives, arena, at, peer.clientSession, PacketKind.accept);
  const text = new Writer(arena, at + ACCEPT_TEXT_AT, at + room - TAG_BYTES);
  writeOpening(text, fields.flags, fields.timeMs, fields.serverSession, fields.serverPublic);
  text.copy(fields.resetToken, 0, RESET_TOKEN_BYTES);
  text.u16(fields.maxDatagram);
  text.u16(fields.idleS);
  text.u32(fields.upKbps);
  text.u32(fields.downKbps);
  if (isRefusal) text.u16(0);
  else writeParameters(text, fields.chosen, fields.understood);
  writePadding(text, spare);
  text.copy(fields.frames, 0, fields.frames.length);
  const key = acceptKey(primitives, tskd.windowKey(tskd.current), peer, arena, at);
  return sealPacket(primitives, key, arena, at, ACCEPT_TEXT_AT, text.at);
}

/** Opens in place an ACCEPT whose header was unmasked under `window`. */
export function openAccept(
  primitives: Primitives,
  tskd: Tskd,
  peer: AcceptPeer,
  arena: Bytes,
  at: number,
  length: number,
  window: number,
  opened: AcceptOpened,
): OpenResult {
  opened.framesBytes = 0;
  const { accept } = PacketKind;
  if (!hasShape(arena, at, length, ACCEPT_BYTES_MIN, accept, peer.clientSession)) {
    return OpenResult.shape;
  }
  if (!tskd.accepts(window)) return OpenResult.time;
  const key = acceptKey(primitives, tskd.windowKey(window), peer, arena, at);
  if (!openPacket(primitives, key, arena, at, ACCEPT_TEXT_AT, length)) return OpenResult.tag;
  return readText(arena, at, length, opened);
}

function acceptKey(
  primitives: Primitives,
  windowKey: Uint8Array,
  peer: AcceptPeer,
  arena: Bytes,
  at: number,
): Bytes {
  copyBytes(acceptSalt, 0, peer.clientPublic, 0, KEY_BYTES);
  copyBytes(acceptSalt, KEY_BYTES, arena, at + SALT_AT, SALT_BYTES);
  return handshakeKey(primitives, windowKey, peer.userKey, acceptSalt, ACCEPT_LABEL);
}

function readText(arena: Bytes, at: number, length: number, opened: AcceptOpened): OpenResult {
  const text = new Reader(arena, at + ACCEPT_TEXT_AT, at + length - TAG_BYTES);
  const isOpened = readOpening(text, opened.serverPublic);
  opened.flags = opening.flags;
  opened.timeMs = opening.timeMs;
  opened.serverSession = opening.session;
  text.copyTo(opened.resetToken, 0, RESET_TOKEN_BYTES);
  opened.maxDatagram = text.u16();
  opened.idleS = text.u16();
  opened.upKbps = text.u32();
  opened.downKbps = text.u32();
  const isRefusal = (opened.flags & AcceptFlag.refused) !== 0;
  const isSound = isOpened && (opened.flags & ~FLAGS) === 0 &&
    isRefusal === (opened.serverSession === 0) && readParameters(text, opened.parameters);
  text.skip(text.u16());
  if (text.failed || !isSound) return OpenResult.contents;
  opened.framesAt = text.at;
  opened.framesBytes = text.left;
  return OpenResult.ok;
}
