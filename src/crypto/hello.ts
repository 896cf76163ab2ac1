/**
 * HELLO: the client's first packet, with 0-RTT frames.
 *
 *     0         16      32       40                                                    tag 16
 *     | header  | salt  | ident  | ciphertext of:
 *                                  version u8 = 5 | flags u8 = 0 | time_ms u64 |
 *                                  client_session u48 | client_public 32 |
 *                                  params_len u16 | parameters |
 *                                  pad_len u16 | padding | frames
 *
 *     ident = user_id XOR HKDF(window_key, salt, "phantom-ident-v5", 8)
 *     key   = HKDF(window_key || user_key, salt, "phantom-hello-v5", 32)
 *
 * The nonce is zero: a salt must never repeat, so it comes fresh from `random` with every HELLO.
 * The header is in clear here; masking is the caller's, under the same window.
 */

import { Reader, Writer } from "../wire/cursor.ts";
import { IDENT_BYTES, KEY_BYTES, TAG_BYTES, TIME_SKEW_MS_MAX } from "../wire/limits.ts";
import { HELLO_BYTES_MIN, HELLO_TEXT_AT, IDENT_AT, PacketKind } from "../wire/packet.ts";
import {
  handshakeKey,
  hasShape,
  opening,
  openPacket,
  OpenResult,
  readOpening,
  saltOf,
  sealPacket,
  writeOpening,
  writePadding,
  writeSaltedHeader,
} from "./handshake.ts";
import {
  Parameters,
  PARAMETERS_BYTES_MIN,
  parametersBytes,
  readParameters,
  writeParameters,
} from "./parameters.ts";
import { type Bytes, label, type Primitives } from "./primitives.ts";
import type { Tskd } from "./tskd.ts";
import type { User, UserTable } from "./users.ts";

const IDENT_LABEL = label("phantom-ident-v5");
const HELLO_LABEL = label("phantom-hello-v5");
// One thread, no re-entry.
const identMask: Bytes = new Uint8Array(IDENT_BYTES);

/** What a HELLO says. */
export interface HelloFields {
  readonly userId: Uint8Array;
  readonly userKey: Uint8Array;
  /** The client's idea of the server's clock: unix time in ms. */
  readonly timeMs: number;
  /** 1 to 2^48 - 1. */
  readonly clientSession: number;
  readonly clientPublic: Uint8Array;
  /** Ciphers for the session, as bits: see ciphers.ts. */
  readonly offered: number;
  /** Frames beyond the table that the client understands, as bits. */
  readonly understood: number;
  /** 0-RTT data; may be empty. */
  readonly frames: Uint8Array;
}

/** What was found in a HELLO; used again for the next. */
export class HelloOpened {
  /** Whose it is; nothing where it did not open. */
  user: User | undefined;
  window = 0;
  clientSession = 0;
  readonly clientPublic: Bytes = new Uint8Array(KEY_BYTES);
  timeMs = 0;
  readonly parameters: Parameters = new Parameters();
  /** The server's time minus the client's; 0 where it did not open. */
  skewMs = 0;
  /** Whoever made it knows the psk, and proves no user's key. */
  isUnproven = false;
  /** Where the frames are in the arena. */
  framesAt = 0;
  framesBytes = 0;
}

/** The most bytes of frames that a HELLO of `room` bytes carries, with no padding left. */
export function helloFramesThatFit(room: number): number {
  return Math.max(0, room - HELLO_BYTES_MIN - PARAMETERS_BYTES_MIN);
}

/**
 * Builds a HELLO in the present window, in at most `room` bytes; its length, 0 when it doesn't
 * fit. Padding gives way to frames.
 */
export function buildHello(
  primitives: Primitives,
  tskd: Tskd,
  fields: HelloFields,
  arena: Bytes,
  at: number,
  room: number,
): number {
  const parameters = parametersBytes(fields.understood);
  const spare = room - HELLO_BYTES_MIN - parameters - fields.frames.length;
  if (spare < 0 || at + room > arena.length) return 0;
  const windowKey = tskd.windowKey(tskd.current);
  writeSaltedHeader(primitives, arena, at, 0, PacketKind.hello);
  arena.set(fields.userId, at + IDENT_AT);
  maskIdent(primitives, windowKey, arena, at);
  const text = new Writer(arena, at + HELLO_TEXT_AT, at + room - TAG_BYTES);
  writeOpening(text, 0, fields.timeMs, fields.clientSession, fields.clientPublic);
  writeParameters(text, fields.offered, fields.understood);
  writePadding(text, spare);
  text.copy(fields.frames, 0, fields.frames.length);
  const key = handshakeKey(primitives, windowKey, fields.userKey, saltOf(arena, at), HELLO_LABEL);
  return sealPacket(primitives, key, arena, at, HELLO_TEXT_AT, text.at);
}

/**
 * Opens a HELLO in place, whose header was unmasked under `window`. Whether it is a replay is for
 * the caller to ask next, before anything is done about it.
 */
export function openHello(
  primitives: Primitives,
  tskd: Tskd,
  users: UserTable,
  arena: Bytes,
  at: number,
  length: number,
  window: number,
  unixMs: number,
  opened: HelloOpened,
): OpenResult {
  opened.user = undefined;
  opened.skewMs = 0;
  opened.isUnproven = false;
  opened.framesBytes = 0;
  if (!hasShape(arena, at, length, HELLO_BYTES_MIN, PacketKind.hello, 0)) return OpenResult.shape;
  if (!tskd.accepts(window)) return OpenResult.time;
  opened.isUnproven = true;
  const windowKey = tskd.windowKey(window);
  maskIdent(primitives, windowKey, arena, at);
  const user = users.find(arena, at + IDENT_AT);
  applyIdentMask(arena, at);
  if (user === undefined) return OpenResult.unknownUser;
  const key = handshakeKey(primitives, windowKey, user.key, saltOf(arena, at), HELLO_LABEL);
  if (!openPacket(primitives, key, arena, at, HELLO_TEXT_AT, length)) return OpenResult.tag;
  opened.isUnproven = false;
  opened.window = window;
  return readText(arena, at, length, unixMs, user, opened);
}

function readText(
  arena: Bytes,
  at: number,
  length: number,
  unixMs: number,
  user: User,
  opened: HelloOpened,
): OpenResult {
  const text = new Reader(arena, at + HELLO_TEXT_AT, at + length - TAG_BYTES);
  const isOpened = readOpening(text, opened.clientPublic);
  opened.timeMs = opening.timeMs;
  opened.clientSession = opening.session;
  const isSound = isOpened && opening.flags === 0 && opening.session !== 0 &&
    readParameters(text, opened.parameters);
  text.skip(text.u16());
  if (text.failed || !isSound) return OpenResult.contents;
  opened.skewMs = unixMs - opened.timeMs;
  opened.user = user;
  if (Math.abs(opened.skewMs) > TIME_SKEW_MS_MAX) return OpenResult.time;
  opened.framesAt = text.at;
  opened.framesBytes = text.left;
  return OpenResult.ok;
}

/** Hides the ident, or shows it: it is its own reverse. */
function maskIdent(
  primitives: Primitives,
  windowKey: Uint8Array,
  arena: Bytes,
  at: number,
): void {
  primitives.hkdf(windowKey, saltOf(arena, at), IDENT_LABEL, IDENT_BYTES, identMask);
  applyIdentMask(arena, at);
}

/** Once more: it is shown for a moment only, since what was sent is what is authenticated. */
function applyIdentMask(arena: Bytes, at: number): void {
  for (let i = 0; i < IDENT_BYTES; i++) arena[at + IDENT_AT + i]! ^= identMask[i]!;
}
