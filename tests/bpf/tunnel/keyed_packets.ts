/** Packets of the protocol as XDP sees them: masked headers, and the keys that they are under. */

import { PACKET_BYTES_MIN } from "../../../src/wire/limits.ts";
import type { Bytes } from "../packets.ts";
import { type Direction, hideHeader } from "./header_model.ts";

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
  /** @default {0} */
  readonly from?: Direction;
}

/** A packet with a hidden header and a body of no sense, which differs by the number. */
export function masked(options: MaskedOptions = {}): Bytes {
  const { kind = 3, session = 0x1234_5678_9abc, number = 1, window = WINDOW, from = 0 } = options;
  const packet = new Uint8Array(options.bytes ?? PACKET_BYTES_MIN);
  for (let i = 16; i < packet.length; i++) packet[i] = i * 37 + number & 0xff;
  new DataView(packet.buffer).setUint32(16, number >>> 0);
  hideHeader(packet, { session, kind, number }, testKey(window), from);
  return packet;
}
