/**
 * A packet's header, and what hides and proves it on the wire.
 *
 *     0            6      7       10               16                                    length
 *     +------------+------+-------+----------------+----------------------------+---------+
 *     | session    | kind | check | number         | body                       | tag     |
 *     +------------+------+-------+----------------+----------------------------+---------+
 *      u48          u8     24 bit  u48              ciphertext; HELLO, ACCEPT and  16 bytes
 *                                                   RESET: salt 16 first;
 *                                                   HELLO: then ident 8
 *
 * In clear `check` is zero. On the wire, with `sample` bytes 16 to 31 and d the direction, session
 * and kind are XORed with SipHash(mask key, sample || d), number with SipHash(mask key, sample ||
 * 2 + d), and check is SipHash(mask key, sample || wire[0..7] || 4 + d || wire[10..16])[0..3].
 * Everything here works on offsets, allocates nothing and never throws.
 */

import { copyBytes } from "../base/copy.ts";
import { HEADER_BYTES, IDENT_BYTES, PACKET_BYTES_MIN, SALT_BYTES, TAG_BYTES } from "./limits.ts";
import { SIP_KEY_WORDS, sipHash, sipHashWith } from "./siphash.ts";

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

/** Where a packet goes: what is sent back to its sender is junk. */
export const Direction = { toServer: 0, toClient: 1 } as const;
export type Direction = typeof Direction[keyof typeof Direction];

/** Offsets in a packet. */
export const SALT_AT = HEADER_BYTES;
export const IDENT_AT = SALT_AT + SALT_BYTES;
export const ACCEPT_TEXT_AT = SALT_AT + SALT_BYTES;
export const RESET_TEXT_AT = ACCEPT_TEXT_AT;
export const HELLO_TEXT_AT = IDENT_AT + IDENT_BYTES;

/** Plaintexts without parameters, padding and frames. */
const HELLO_TEXT_BYTES = 1 + 1 + 8 + 6 + 32 + 2 + 2;
const ACCEPT_TEXT_BYTES = 1 + 1 + 8 + 6 + 32 + 16 + 2 + 2 + 4 + 4 + 2 + 2;
const RESET_TEXT_BYTES = 8 + 6 + 6 + 16 + 1;

/** Packets without parameters, padding and frames: the shortest of each kind. */
export const HELLO_BYTES_MIN = HELLO_TEXT_AT + HELLO_TEXT_BYTES + TAG_BYTES;
export const ACCEPT_BYTES_MIN = ACCEPT_TEXT_AT + ACCEPT_TEXT_BYTES + TAG_BYTES;
export const RESET_BYTES = RESET_TEXT_AT + RESET_TEXT_BYTES + TAG_BYTES;

const KIND_AT = 6;
const CHECK_AT = 7;
const NUMBER_AT = 10;
const SAMPLE_BYTES = 16;
/** Sample, session and kind as they are on the wire, one byte, number. */
const CHECKED_BYTES = SAMPLE_BYTES + CHECK_AT + 1 + HEADER_BYTES - NUMBER_AT;
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

/** Whether a packet of this kind goes in this direction. */
function isKindOf(kind: number, direction: Direction): boolean {
  if (isData(kind)) return true;
  if (direction === Direction.toServer) return kind === PacketKind.hello;
  return kind === PacketKind.accept || kind === PacketKind.reset;
}

/** Writes a header in clear; session and number are whole numbers of 0 to 2^48 - 1. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  session: number,
  kind: PacketKind,
  number: number,
): void {
  const high = session / TWO_32 | 0;
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  writeWord(bytes, at + 2, session | 0);
  writeWord(bytes, at + 6, kind << 24);
  const numberHigh = number / TWO_32 | 0;
  bytes[at + 10] = numberHigh >>> 8;
  bytes[at + 11] = numberHigh;
  writeWord(bytes, at + 12, number | 0);
}

/** The session id of a header in clear. */
export function headerSession(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8 | bytes[at + 1]!) * TWO_32 + (readWord(bytes, at + 2) >>> 0);
}

export function headerKind(bytes: Uint8Array, at: number): number {
  return bytes[at + KIND_AT]!;
}

// One thread, no re-entry: results that live as long as the module.
const hash = new Uint32Array(2);
/** What `check` is made over. */
const checked = new Uint8Array(CHECKED_BYTES);

/** Hides the header of a packet that is whole, and writes its check. */
export function maskHeader(
  bytes: Uint8Array,
  at: number,
  direction: Direction,
  key: Uint32Array,
  keyAt: number,
): void {
  applyMask(bytes, at, direction, key, keyAt);
  writeCheck(bytes, at, checkOf(bytes, at, direction, key, keyAt));
}

/**
 * Shows a header that went in this direction, under the first of `count` keys whose check fits: the
 * index of that key, or -1 with the packet as it was. `keys` holds four words (`sipKey`) a key.
 */
export function unmaskHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  direction: Direction,
  keys: Uint32Array,
  count: number,
): number {
  if (length < PACKET_BYTES_MIN || at + length > bytes.length) return -1;
  const check = bytes[at + CHECK_AT]! | bytes[at + CHECK_AT + 1]! << 8 |
    bytes[at + CHECK_AT + 2]! << 16;
  for (let i = 0; i < count; i++) {
    const keyAt = i * SIP_KEY_WORDS;
    if (checkOf(bytes, at, direction, keys, keyAt) !== check) continue;
    applyMask(bytes, at, direction, keys, keyAt);
    if (isKindOf(headerKind(bytes, at), direction)) {
      writeCheck(bytes, at, 0);
      return i;
    }
    applyMask(bytes, at, direction, keys, keyAt);
  }
  return -1;
}

/** Masks session, kind and number, or takes the mask off: it is its own reverse. */
function applyMask(
  bytes: Uint8Array,
  at: number,
  direction: Direction,
  key: Uint32Array,
  keyAt: number,
): void {
  sipHashWith(key, keyAt, bytes, at + HEADER_BYTES, SAMPLE_BYTES, direction, hash);
  applyHash(bytes, at, CHECK_AT);
  sipHashWith(key, keyAt, bytes, at + HEADER_BYTES, SAMPLE_BYTES, 2 + direction, hash);
  applyHash(bytes, at + NUMBER_AT, HEADER_BYTES - NUMBER_AT);
}

function applyHash(bytes: Uint8Array, at: number, count: number): void {
  for (let i = 0; i < count; i++) bytes[at + i]! ^= hash[i >> 2]! >>> 8 * (i & 3);
}

/** The first three bytes of the hash, the first one lowest. */
function checkOf(
  bytes: Uint8Array,
  at: number,
  direction: Direction,
  key: Uint32Array,
  keyAt: number,
): number {
  copyBytes(checked, 0, bytes, at + HEADER_BYTES, SAMPLE_BYTES);
  copyBytes(checked, SAMPLE_BYTES, bytes, at, CHECK_AT);
  checked[SAMPLE_BYTES + CHECK_AT] = 4 + direction;
  copyBytes(checked, SAMPLE_BYTES + CHECK_AT + 1, bytes, at + NUMBER_AT, HEADER_BYTES - NUMBER_AT);
  sipHash(key, keyAt, checked, 0, CHECKED_BYTES, hash);
  return hash[0]! & 0xff_ffff;
}

function writeCheck(bytes: Uint8Array, at: number, check: number): void {
  bytes[at + CHECK_AT] = check;
  bytes[at + CHECK_AT + 1] = check >>> 8;
  bytes[at + CHECK_AT + 2] = check >>> 16;
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
