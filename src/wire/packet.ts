/**
 * A packet's header, and the mask that hides it on the wire.
 *
 *     0        4      5      8               16                                         length
 *     +--------+------+------+----------------+------------------------------+---------+
 *     | session| kind | zero | number         | body                         | tag     |
 *     +--------+------+------+----------------+------------------------------+---------+
 *      u32      u8     u24=0  u64              ciphertext; HELLO, ACCEPT and  16 bytes
 *                                              RESET: salt 16 first;
 *                                              HELLO: then ident 8
 *
 * On the wire the header is XORed with SipHash(mask key, sample || 0) and, its second half, with
 * SipHash(mask key, sample || 1); the sample is bytes 16 to 31. Everything here works on offsets,
 * allocates nothing and never throws.
 */

import { HEADER_BYTES, IDENT_BYTES, PACKET_BYTES_MIN, SALT_BYTES, TAG_BYTES } from "./limits.ts";
import { SIP_KEY_WORDS, sipHashWith } from "./siphash.ts";

/** What a packet is. */
export const PacketKind = {
  hello: 1,
  accept: 2,
  /** DATA of key phase 0. */
  data0: 3,
  reset: 4,
  /** DATA of key phase 1. */
  data1: 5,
} as const;
export type PacketKind = typeof PacketKind[keyof typeof PacketKind];

const KIND_MAX = PacketKind.data1;

/** Offsets in a packet. */
export const SALT_AT = HEADER_BYTES;
export const IDENT_AT = SALT_AT + SALT_BYTES;
export const ACCEPT_TEXT_AT = SALT_AT + SALT_BYTES;
export const RESET_TEXT_AT = ACCEPT_TEXT_AT;
export const HELLO_TEXT_AT = IDENT_AT + IDENT_BYTES;

/** Plaintexts without padding and frames. */
const HELLO_TEXT_BYTES = 1 + 1 + 8 + 4 + 32 + 2;
const ACCEPT_TEXT_BYTES = 1 + 1 + 8 + 4 + 32 + 16 + 2 + 2 + 4 + 4 + 2;
const RESET_TEXT_BYTES = 8 + 4 + 8 + 16 + 1;

/** Packets without padding and frames: the shortest of each kind. */
export const HELLO_BYTES_MIN = HELLO_TEXT_AT + HELLO_TEXT_BYTES + TAG_BYTES;
export const ACCEPT_BYTES_MIN = ACCEPT_TEXT_AT + ACCEPT_TEXT_BYTES + TAG_BYTES;
export const RESET_BYTES = RESET_TEXT_AT + RESET_TEXT_BYTES + TAG_BYTES;

const TWO_32 = 0x1_0000_0000;

/** The kind of a DATA packet of a key phase (0 or 1). */
export function dataKind(phase: number): PacketKind {
  return phase === 0 ? PacketKind.data0 : PacketKind.data1;
}

export function isData(kind: number): boolean {
  return kind === PacketKind.data0 || kind === PacketKind.data1;
}

/** The key phase of a DATA packet's kind. */
export function phaseOf(kind: number): number {
  return kind === PacketKind.data0 ? 0 : 1;
}

/** Writes a header in clear; `number` is a whole number of 0 to 2^53 - 1. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  session: number,
  kind: PacketKind,
  number: number,
): void {
  writeWord(bytes, at, session);
  writeWord(bytes, at + 4, kind << 24);
  writeWord(bytes, at + 8, number / TWO_32 | 0);
  writeWord(bytes, at + 12, number | 0);
}

/** The session id of a header in clear. */
export function headerSession(bytes: Uint8Array, at: number): number {
  return readWord(bytes, at) >>> 0;
}

export function headerKind(bytes: Uint8Array, at: number): number {
  return bytes[at + 4]!;
}

// One thread, no re-entry: a result that lives as long as the module.
const hash = new Uint32Array(2);

/** Masks the header of a packet that is whole, or takes the mask off: it is its own reverse. */
export function maskHeader(bytes: Uint8Array, at: number, key: Uint32Array, keyAt: number): void {
  maskHalf(bytes, at, 0, key, keyAt);
  maskHalf(bytes, at, 1, key, keyAt);
}

/**
 * Takes the mask off under the first of `count` keys that makes sense of it: the index of that
 * key, or -1 with the packet as it was. `keys` holds four words (`sipKey`) a key.
 */
export function unmaskHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  keys: Uint32Array,
  count: number,
): number {
  if (length < PACKET_BYTES_MIN || at + length > bytes.length) return -1;
  const second = readWord(bytes, at + 4);
  for (let i = 0; i < count; i++) {
    const keyAt = i * SIP_KEY_WORDS;
    sipHashWith(keys, keyAt, bytes, at + HEADER_BYTES, 16, 0, hash);
    const clear = second ^ swap(hash[1]!);
    const kind = clear >>> 24;
    if ((clear & 0xff_ffff) !== 0 || kind < 1 || kind > KIND_MAX) continue;
    writeWord(bytes, at, readWord(bytes, at) ^ swap(hash[0]!));
    writeWord(bytes, at + 4, clear);
    maskHalf(bytes, at, 1, keys, keyAt);
    return i;
  }
  return -1;
}

function maskHalf(
  bytes: Uint8Array,
  at: number,
  half: number,
  key: Uint32Array,
  keyAt: number,
): void {
  const from = at + 8 * half;
  sipHashWith(key, keyAt, bytes, at + HEADER_BYTES, 16, half, hash);
  writeWord(bytes, from, readWord(bytes, from) ^ swap(hash[0]!));
  writeWord(bytes, from + 4, readWord(bytes, from + 4) ^ swap(hash[1]!));
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
}

function writeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** SipHash's output is little-endian on the wire, a word read here is big-endian. */
function swap(value: number): number {
  return value << 24 | value << 8 & 0xff_0000 | value >>> 8 & 0xff00 | value >>> 24;
}
