/**
 * Packet headers, hidden and shown (SipHash-2-4), a batch in one call of the native library. The
 * packet is drawn in ffi/native/ph.h.
 *
 * A header that is shown was made by somebody who has the window's key; what it says is not to be
 * believed before the AEAD has opened the packet.
 */

import { type AeadBatch, aeadOpAadWord, aeadOpWords } from "./aead.ts";
import { checked } from "./errors.ts";
import type { Native } from "./native.ts";

export const maskKeyBytes = 16;
/** PH_MASK_KEYS_MAX: time windows that are tried. */
export const maskKeysMax = 8;
/** PH_PACKET_MIN: anything shorter is junk. */
export const packetBytesMin = 32;
/** enum ph_direction. */
export type Direction = typeof toServer | typeof toClient;
export const toServer = 0;
export const toClient = 1;

const spanWords = 4;
// struct ph_header in words: kind, session (low, high), number (low, high), window.
const headerWords = 6;
const two32 = 0x1_0000_0000;

/** Packets in an arena, as UdpInbox has them: struct ph_udp_span[count] at least. */
export interface PacketSpans {
  readonly arena: Uint8Array<ArrayBuffer>;
  readonly spans: Uint32Array<ArrayBuffer>;
  readonly count: number;
}

/** What the headers of a batch said. Allocated once; valid until the next unmask. */
export class PacketHeaders {
  readonly capacity: number;
  /** struct ph_header[capacity]. */
  readonly words: Uint32Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.words = new Uint32Array(capacity * headerWords);
  }

  /** 1 to 5; 0 for junk, of which nothing else is known. */
  kind(i: number): number {
    return this.words[i * headerWords]!;
  }

  /** 48 bits. */
  session(i: number): number {
    return this.words[i * headerWords + 2]! * two32 + this.words[i * headerWords + 1]!;
  }

  /** 48 bits. */
  number(i: number): number {
    return this.words[i * headerWords + 4]! * two32 + this.words[i * headerWords + 3]!;
  }

  /** Which of the keys fitted: its index as given to setKeys. */
  window(i: number): number {
    return this.words[i * headerWords + 5]!;
  }
}

/** The mask keys of a thread: those that packets are tried under, and the one that hides. */
export class PacketMask {
  readonly #native: Native;
  readonly #sends: Direction;
  readonly #receives: Direction;
  readonly #keys: Uint8Array<ArrayBuffer> = new Uint8Array(maskKeysMax * maskKeyBytes);
  #keyCount = 0;

  /** `sends`: the direction of what is hidden here; what is shown goes in the other. */
  constructor(native: Native, sends: Direction) {
    this.#native = native;
    this.#sends = sends;
    this.#receives = sends === toServer ? toClient : toServer;
  }

  /**
   * Copies the keys of `count` windows in, which stand one behind the other. The first one hides
   * what is sent; what is received is tried under each in turn, so that a packet of the first
   * window costs the least.
   */
  setKeys(keys: Uint8Array, count: number = keys.length / maskKeyBytes): void {
    const isSound = Number.isInteger(count) && count >= 1 && count <= maskKeysMax &&
      count * maskKeyBytes <= keys.length;
    if (!isSound) {
      throw new RangeError(
        `Cannot set mask keys as they must be 1 to ${maskKeysMax} of ${maskKeyBytes} bytes: ` +
          `current value is ${count} in ${keys.length} bytes`,
      );
    }
    this.#keys.set(keys.subarray(0, count * maskKeyBytes));
    this.#keyCount = count;
  }

  /**
   * Shows the headers of a batch, in `headers` and in the arena, where they are the associated data
   * that the AEAD wants; how many are no junk. Junk stays as it was, and so does everything before
   * the first setKeys.
   */
  unmask(packets: PacketSpans, headers: PacketHeaders): number {
    const { arena, spans, count } = packets;
    if (count > headers.capacity || count * spanWords > spans.length) {
      throw new RangeError(
        `Cannot unmask packets as they must be at most ${headers.capacity}: ` +
          `current value is ${count}`,
      );
    }
    return checked(
      this.#native.symbols.ph_unmask(
        arena,
        arena.length,
        spans,
        count,
        this.#keys,
        this.#keyCount,
        this.#receives,
        headers.words,
      ),
      "unmask packets",
    );
  }

  /**
   * Hides the headers of the packets that a batch has sealed; how many. A header is where the
   * associated data begins.
   */
  maskSealed(batch: AeadBatch, arena: Uint8Array<ArrayBuffer>): number {
    return this.#mask(arena, batch.ops, [aeadOpAadWord, aeadOpWords, batch.count], this.#sends);
  }

  /** Hides the headers of the packets that begin at offsets[0..count) of the arena; how many. */
  maskAt(
    offsets: Uint32Array<ArrayBuffer>,
    count: number,
    arena: Uint8Array<ArrayBuffer>,
  ): number {
    return this.#mask(arena, offsets, [0, 1, count], this.#sends);
  }

  /** The same for packets that were shown here: somebody else is to have them as they came. */
  remaskAt(
    offsets: Uint32Array<ArrayBuffer>,
    count: number,
    arena: Uint8Array<ArrayBuffer>,
  ): number {
    return this.#mask(arena, offsets, [0, 1, count], this.#receives);
  }

  #mask(
    arena: Uint8Array<ArrayBuffer>,
    words: Uint32Array<ArrayBuffer>,
    [first, stride, count]: readonly [number, number, number],
    direction: Direction,
  ): number {
    if (this.#keyCount === 0) throw new Error("Cannot mask packets as no key has been set");
    return checked(
      this.#native.symbols.ph_mask(
        arena,
        arena.length,
        this.#keys,
        direction,
        words,
        words.length,
        first,
        stride,
        count,
      ),
      "mask packets",
    );
  }
}

/** SipHash-2-4 into out[0..8), little-endian: for tests, which compare the three that there are. */
export function sipHash(
  native: Native,
  key: Uint8Array<ArrayBuffer>,
  data: Uint8Array<ArrayBuffer>,
  out: Uint8Array<ArrayBuffer>,
): void {
  if (key.length !== maskKeyBytes) {
    throw new RangeError(
      `Cannot use a SipHash key as it must have ${maskKeyBytes} bytes: ` +
        `current value is ${key.length}`,
    );
  }
  if (out.length < 8) {
    throw new RangeError(
      `Cannot take a SipHash as its buffer must have 8 bytes: current value is ${out.length}`,
    );
  }
  native.symbols.ph_siphash(key, data, data.length, out);
}
