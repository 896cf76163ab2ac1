/** What building and opening HELLO, ACCEPT and RESET have in common. */

import {
  HEADER_BYTES,
  KEY_BYTES,
  PADDING_BYTES_MAX,
  SALT_BYTES,
  TAG_BYTES,
} from "../wire/limits.ts";
import { type PacketKind, SALT_AT, writeHeader } from "../wire/packet.ts";
import { type Bytes, concatBytes, type Primitives } from "./primitives.ts";

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
  disabledUser: 5,
  expiredUser: 6,
  /** Its time is too far from ours. */
  time: 7,
} as const;
export type OpenResult = typeof OpenResult[keyof typeof OpenResult];

/** The key of one handshake packet, unique by its salt; the caller wipes it. */
export function handshakeKey(
  primitives: Primitives,
  windowKey: Uint8Array,
  userKey: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
): Bytes {
  const ikm = concatBytes(windowKey, userKey);
  const key = primitives.hkdf(ikm, salt, info, KEY_BYTES);
  ikm.fill(0);
  return key;
}

/** Writes the header with a random number, and a random salt behind it. */
export function writeSaltedHeader(
  primitives: Primitives,
  arena: Bytes,
  at: number,
  session: number,
  kind: PacketKind,
): void {
  writeHeader(arena, at, session, kind, 0);
  const number = HEADER_BYTES - 8;
  primitives.random(arena.subarray(at + number, at + HEADER_BYTES + SALT_BYTES));
}

/** The salt of a packet, where it stands. */
export function saltOf(arena: Uint8Array, at: number): Uint8Array {
  return arena.subarray(at + SALT_AT, at + SALT_AT + SALT_BYTES);
}

/** Random bytes of padding, 0 to 255, as far as there is room. */
export function paddingBytes(primitives: Primitives, room: number): Bytes {
  const length = new Uint8Array(1);
  primitives.random(length);
  const padding = new Uint8Array(Math.min(length[0]!, PADDING_BYTES_MAX, room));
  if (padding.length > 0) primitives.random(padding);
  return padding;
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
