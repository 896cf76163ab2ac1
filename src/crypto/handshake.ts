/** What building and opening HELLO, ACCEPT and RESET have in common. */

import { copyBytes } from "../base/copy.ts";
import {
  HEADER_BYTES,
  KEY_BYTES,
  PADDING_BYTES_MAX,
  PROTOCOL_VERSION,
  SALT_BYTES,
  TAG_BYTES,
} from "../wire/limits.ts";
import type { Reader, Writer } from "../wire/cursor.ts";
import {
  headerKind,
  headerSession,
  type PacketKind,
  SALT_AT,
  writeHeader,
} from "../wire/packet.ts";
import type { Bytes, Primitives } from "./primitives.ts";

const NUMBER_BYTES = 6;

/** How opening a handshake packet went; everything but `ok` means silence. */
export const OpenResult = {
  ok: 0,
  /** Too short, or its header is not that of its kind. */
  shape: 1,
  /** The tag is wrong: not from somebody with the key. */
  tag: 2,
  /** It opened, and its contents can't be. */
  contents: 3,
  /** No user of that id. */
  unknownUser: 4,
  /** Its time is too far from ours. */
  time: 5,
} as const;
export type OpenResult = typeof OpenResult[keyof typeof OpenResult];

// One thread, no re-entry: a handshake takes arrays that are there, for each new one that native
// code is given costs more than what is done with it. Secrets are wiped at once.
const ikm: Bytes = new Uint8Array(2 * KEY_BYTES);
const packetKey: Bytes = new Uint8Array(KEY_BYTES);
const packetSalt: Bytes = new Uint8Array(SALT_BYTES);
/** Header number, salt, padding's length, padding. */
const fresh: Bytes = new Uint8Array(NUMBER_BYTES + SALT_BYTES + 1 + PADDING_BYTES_MAX);

/** The key of one handshake packet, unique by its salt. One array: the caller wipes it at once. */
export function handshakeKey(
  primitives: Primitives,
  windowKey: Uint8Array,
  userKey: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
): Bytes {
  copyBytes(ikm, 0, windowKey, 0, KEY_BYTES);
  copyBytes(ikm, KEY_BYTES, userKey, 0, KEY_BYTES);
  primitives.hkdf(ikm, salt, info, KEY_BYTES, packetKey);
  ikm.fill(0);
  return packetKey;
}

/** Writes the header with a random number, and a random salt behind it; draws padding as well. */
export function writeSaltedHeader(
  primitives: Primitives,
  arena: Bytes,
  at: number,
  session: number,
  kind: PacketKind,
): void {
  writeHeader(arena, at, session, kind, 0);
  primitives.random(fresh);
  copyBytes(arena, at + HEADER_BYTES - NUMBER_BYTES, fresh, 0, NUMBER_BYTES + SALT_BYTES);
}

/** Whether a packet may be one of a kind and to a session, by its length and header. */
export function hasShape(
  arena: Bytes,
  at: number,
  length: number,
  bytesMin: number,
  kind: PacketKind,
  session: number,
): boolean {
  return length >= bytesMin && at + length <= arena.length && headerKind(arena, at) === kind &&
    headerSession(arena, at) === session;
}

/** What the texts of HELLO and ACCEPT begin with: version, flags, time, session, public key. */
export function writeOpening(
  text: Writer,
  flags: number,
  timeMs: number,
  session: number,
  publicKey: Uint8Array,
): void {
  text.u8(PROTOCOL_VERSION);
  text.u8(flags);
  text.u64(timeMs);
  text.u48(session);
  text.copy(publicKey, 0, KEY_BYTES);
}

/** What readOpening() found last. One thread, no re-entry. */
export const opening = { flags: 0, timeMs: 0, session: 0 };

/** Reads it into `opening` and an array; false: of another version. */
export function readOpening(text: Reader, publicKey: Bytes): boolean {
  const version = text.u8();
  opening.flags = text.u8();
  opening.timeMs = text.u64();
  opening.session = text.u48();
  text.copyTo(publicKey, 0, KEY_BYTES);
  return !text.failed && version === PROTOCOL_VERSION;
}

/** The salt of a packet: the next call's too. */
export function saltOf(arena: Uint8Array, at: number): Bytes {
  copyBytes(packetSalt, 0, arena, at + SALT_AT, SALT_BYTES);
  return packetSalt;
}

/** Writes padding, 0 to 255 bytes as far as there is room, with its length in front. */
export function writePadding(text: Writer, room: number): void {
  const at = NUMBER_BYTES + SALT_BYTES;
  const length = Math.min(fresh[at]!, PADDING_BYTES_MAX, room);
  text.u16(length);
  text.copy(fresh, at + 1, length);
}

/** Seals the text between `textAt` and `end` of a packet; the packet's length. */
export function sealPacket(
  primitives: Primitives,
  key: Bytes,
  arena: Bytes,
  at: number,
  textAt: number,
  end: number,
): number {
  primitives.aeadSeal(key, arena, at, textAt, at + textAt, end - at - textAt);
  key.fill(0);
  return end - at + TAG_BYTES;
}

/** Opens a packet in place. */
export function openPacket(
  primitives: Primitives,
  key: Bytes,
  arena: Bytes,
  at: number,
  textAt: number,
  length: number,
): boolean {
  const textBytes = length - textAt - TAG_BYTES;
  const opened = primitives.aeadOpen(key, arena, at, textAt, at + textAt, textBytes);
  key.fill(0);
  return opened;
}
