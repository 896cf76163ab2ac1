/**
 * A packet's header by docs/PROTOCOL.md §2, said a second time: slow and plain, each hash over a
 * message that is put together for it.
 */

import { SIP_KEY_WORDS, sipHash, sipKey } from "../../../src/wire/siphash.ts";
import type { Bytes } from "../packets.ts";

export interface Header {
  readonly session: number;
  readonly kind: number;
  readonly number: number;
}

/** A header, and which key it was under. */
export interface Shown extends Header {
  readonly key: Uint8Array;
}

/** 0: from a client, 1: from a server. */
export type Direction = 0 | 1;

const NUMBER_AT = 10;
const CHECK_AT = 7;
const SAMPLE_AT = 16;
const PACKET_BYTES_MIN = 32;
const CLIENT_KINDS: ReadonlySet<number> = new Set([1, 3, 5]);

/** Writes a header as it goes over the wire, in front of a body that is there. */
export function hideHeader(packet: Bytes, header: Header, key: Uint8Array, from: Direction): void {
  writeBig(packet, 0, header.session);
  packet[6] = header.kind;
  writeBig(packet, NUMBER_AT, header.number);
  maskOver(packet, key, from);
  packet.set(checkOf(packet, key, from), CHECK_AT);
}

/** What a client's packet shows under the first key that it is sealed with; undefined: junk. */
export function showHeader(
  packet: Uint8Array,
  keys: Iterable<Uint8Array>,
): Shown | undefined {
  if (packet.length < PACKET_BYTES_MIN) return undefined;
  for (const key of keys) {
    const check = checkOf(packet, key, 0);
    if (check.some((byte, i) => byte !== packet[CHECK_AT + i])) continue;
    const clear = Uint8Array.from(packet);
    maskOver(clear, key, 0);
    const kind = clear[6]!;
    if (!CLIENT_KINDS.has(kind)) return undefined;
    return { session: readBig(clear, 0), kind, number: readBig(clear, NUMBER_AT), key };
  }
  return undefined;
}

/** Puts the mask over session, kind and number, or takes it off. */
function maskOver(packet: Uint8Array, key: Uint8Array, from: Direction): void {
  const sample = packet.subarray(SAMPLE_AT, PACKET_BYTES_MIN);
  xor(packet, 0, hashOf(key, [...sample, from]).subarray(0, 7));
  xor(packet, NUMBER_AT, hashOf(key, [...sample, 2 + from]).subarray(0, 6));
}

function checkOf(packet: Uint8Array, key: Uint8Array, from: Direction): Bytes {
  const message = [
    ...packet.subarray(SAMPLE_AT, PACKET_BYTES_MIN),
    ...packet.subarray(0, CHECK_AT),
    4 + from,
    ...packet.subarray(NUMBER_AT, SAMPLE_AT),
  ];
  return hashOf(key, message).slice(0, 3);
}

/** SipHash, little-endian. */
function hashOf(key: Uint8Array, message: readonly number[]): Bytes {
  const words = new Uint32Array(SIP_KEY_WORDS);
  const output = new Uint32Array(2);
  sipKey(key, 0, words);
  sipHash(words, 0, Uint8Array.from(message), 0, message.length, output);
  return new Uint8Array(output.buffer);
}

function xor(bytes: Uint8Array, at: number, mask: Uint8Array): void {
  mask.forEach((byte, i) => bytes[at + i]! ^= byte);
}

/** 48 bits. */
function writeBig(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 6; i++) bytes[at + i] = Math.floor(value / 2 ** (8 * (5 - i))) & 0xff;
}

function readBig(bytes: Uint8Array, at: number): number {
  return bytes.subarray(at, at + 6).reduce((sum, byte) => sum * 256 + byte, 0);
}
