/** Packets of the protocol as XDP sees them: masked headers, and the keys that they are under. */

import { PACKET_BYTES_MIN } from "../../../src/wire/limits.ts";
import { maskHeader, writeHeader } from "../../../src/wire/packet.ts";
import type { PacketKind } from "../../../src/wire/packet.ts";
import { SIP_KEY_WORDS, sipKey } from "../../../src/wire/siphash.ts";
import type { Bytes } from "../packets.ts";

/** A present window for tests. */
export const WINDOW = 58_000_000;

/** Any key will do, as long as no two windows have the same. */
export function testKey(window: number): Bytes {
  const key = new Uint8Array(16);
  const view = new DataView(key.buffer);
  view.setUint32(0, window);
  view.setUint32(8, Math.imul(window, 0x9e37_79b1) >>> 0);
  view.setUint32(12, ~window >>> 0);
  return key;
}

export function testKeys(...windows: readonly number[]): ReadonlyMap<number, Bytes> {
  return new Map(windows.map((window) => [window, testKey(window)]));
}

export interface MaskedOptions {
  readonly kind?: number;
  readonly session?: number;
  readonly number?: number;
  readonly window?: number;
  /** Of the whole packet. */
  readonly bytes?: number;
  /** What stands in the third to last of the header's first eight bytes. */
  readonly zero?: number;
}

/** A packet with a masked header and a body of no sense. */
export function masked(options: MaskedOptions = {}): Bytes {
  const { kind = 3, session = 0x1234_5678, number = 1, window = WINDOW, zero = 0 } = options;
  const packet = new Uint8Array(options.bytes ?? PACKET_BYTES_MIN);
  for (let i = 16; i < packet.length; i++) packet[i] = (i * 37 + number) & 0xff;
  // Some are no kind at all.
  writeHeader(packet, 0, session, kind as PacketKind, number);
  packet[5] = zero;
  const words = new Uint32Array(SIP_KEY_WORDS);
  sipKey(testKey(window), 0, words);
  maskHeader(packet, 0, words, 0);
  return packet;
}
