// The ring of sent packets of a session, by packet number, one cache line a packet.

import { NO_RECORD } from "./frame_records.ts";
import { SENT_SLOTS_MAX, SENT_SLOTS_MIN } from "./params.ts";

/** What has become of a packet. */
export const State = {
  /** Sent, and not to be missed: nothing but ACK and PADDING. */
  quiet: 0,
  inFlight: 1,
  acked: 2,
  /** Declared lost on a path that still stands: an ACK shows the loss to be false. */
  lost: 3,
  /** Given up with its path, or for want of room: an ACK says nothing about any path. */
  abandoned: 4,
  /** A number that was never sent. */
  skipped: 5,
} as const;

/** Flags of a packet, beside its state. */
export const Flag = {
  /** Sent while the sender had less to send than the path takes. */
  appLimited: 1,
  /** A path MTU probe: its loss says nothing about congestion. */
  mtuProbe: 2,
  /** Its frames were given back for sending again while it was still in flight. */
  requeued: 4,
  /** Cut by IP: nothing about the path MTU is learnt of it. */
  fragmented: 8,
} as const;

/** The `delivery` of a packet that makes no rate sample. */
export const NO_DELIVERY = new Float64Array(3);

/** No packet, in links. */
export const NONE = -1;

const STRIDE = 8;
const TIME = 0;
const SEQUENCE = 1;
const DELIVERED = 2;
const DELIVERED_TIME = 3;
const FIRST_SENT = 4;
const NEWER = 5;
const OLDER = 6;
const BYTES = 7;

const TAGS = 2;
const RECORDS = 0;
/** path << 16 | flags << 8 | state */
const STATE = 1;

/** Of a session that remembers nothing: an idle one. */
const NO_VALUES = new Float64Array(0);
const NO_TAGS = new Int32Array(0);

/**
 * Smallest rings that no session has now, the first half of each and the second. Sessions turn idle
 * and busy again: memory that they left to the collector would stay for long. At most 5 MiB.
 */
const spareValues: Float64Array<ArrayBuffer>[] = [];
const spareTags: Int32Array<ArrayBuffer>[] = [];
const SPARES_MAX = 4096;

/**
 * Packets `base` to `next - 1`. Those in flight on one path are linked from old to new; what is
 * acknowledged is skipped over by links too, so that an ACK that repeats old ranges costs little.
 */
export class SentPackets {
  base = 0;
  next = 0;
  #capacity = 0;
  #mask = 0;
  #values = NO_VALUES;
  #tags = NO_TAGS;

  get size(): number {
    return this.next - this.base;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** True when a packet more can only be had by forgetting the oldest. */
  get full(): boolean {
    return this.next - this.base >= SENT_SLOTS_MAX;
  }

  /** Adds the packet `next`, to be described, and returns its number. */
  push(path: number, flags: number, state: number, records: number): number {
    if (this.size === this.#capacity) this.#resize(Math.max(SENT_SLOTS_MIN, 2 * this.#capacity));
    const number = this.next;
    const tag = TAGS * (number & this.#mask);
    this.#tags[tag + RECORDS] = records;
    this.#tags[tag + STATE] = path << 16 | flags << 8 | state;
    const at = STRIDE * (number & this.#mask);
    this.#values[at + NEWER] = NONE;
    this.#values[at + OLDER] = number - 1;
    this.next += 1;
    return number;
  }

  /**
   * Notes what loss detection and the rate sample need to know later. `delivery`: bytes delivered,
   * when that was, when the first of the flight was sent; in an array, since fractions that are
   * passed one by one are an object each.
   */
  describe(
    number: number,
    time: number,
    bytes: number,
    sequence: number,
    delivery: Float64Array,
  ): void {
    const at = STRIDE * (number & this.#mask);
    const values = this.#values;
    values[at + TIME] = time;
    values[at + BYTES] = bytes;
    values[at + SEQUENCE] = sequence;
    values[at + DELIVERED] = delivery[0]!;
    values[at + DELIVERED_TIME] = delivery[1]!;
    values[at + FIRST_SENT] = delivery[2]!;
  }

  /** The number `next` goes to a packet that need not be remembered; only while none is. */
  pass(): number {
    this.base += 1;
    return this.next++;
  }

  /** Gives all memory back, where nothing is remembered. */
  shrink(): void {
    if (this.size > 0 || this.#capacity === 0) return;
    this.#leave();
    this.#values = NO_VALUES;
    this.#tags = NO_TAGS;
    this.#capacity = this.#mask = 0;
  }

  time(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + TIME]!;
  }

  bytes(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + BYTES]!;
  }

  /** Its place among the packets in flight of its own path. */
  sequence(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + SEQUENCE]!;
  }

  delivered(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + DELIVERED]!;
  }

  deliveredTime(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + DELIVERED_TIME]!;
  }

  firstSent(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + FIRST_SENT]!;
  }

  newer(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + NEWER]!;
  }

  setNewer(number: number, newer: number): void {
    this.#values[STRIDE * (number & this.#mask) + NEWER] = newer;
  }

  /** In flight: the one sent before it on its path. Acknowledged: see {@linkcode belowAcked}. */
  older(number: number): number {
    return this.#values[STRIDE * (number & this.#mask) + OLDER]!;
  }

  setOlder(number: number, older: number): void {
    this.#values[STRIDE * (number & this.#mask) + OLDER] = older;
  }

  path(number: number): number {
    return this.#tags[TAGS * (number & this.#mask) + STATE]! >>> 16;
  }

  flags(number: number): number {
    return this.#tags[TAGS * (number & this.#mask) + STATE]! >>> 8 & 0xff;
  }

  addFlag(number: number, flag: number): void {
    this.#tags[TAGS * (number & this.#mask) + STATE]! |= flag << 8;
  }

  state(number: number): number {
    return this.#tags[TAGS * (number & this.#mask) + STATE]! & 0xff;
  }

  setState(number: number, state: number): void {
    const at = TAGS * (number & this.#mask) + STATE;
    this.#tags[at] = this.#tags[at]! & ~0xff | state;
  }

  /** The first of its frame records; the caller empties it when it takes them. */
  records(number: number): number {
    return this.#tags[TAGS * (number & this.#mask) + RECORDS]!;
  }

  clearRecords(number: number): void {
    this.#tags[TAGS * (number & this.#mask) + RECORDS] = NO_RECORD;
  }

  /** The first number below `number`, which is acknowledged, that may not be (union-find). */
  belowAcked(number: number): number {
    let end = number;
    while (end >= this.base && this.state(end) === State.acked) end = this.older(end);
    let at = number;
    while (at > end) {
      const older = this.older(at);
      this.setOlder(at, end);
      at = older;
    }
    return end;
  }

  #resize(capacity: number): void {
    const spare = capacity === SENT_SLOTS_MIN ? spareValues.pop() : undefined;
    const values = spare ?? new Float64Array(STRIDE * capacity);
    const tags = spare === undefined ? new Int32Array(TAGS * capacity) : spareTags.pop()!;
    for (let number = this.base; number < this.next; number++) {
      const from = number & this.#mask;
      const to = number & (capacity - 1);
      for (let i = 0; i < STRIDE; i++) values[STRIDE * to + i] = this.#values[STRIDE * from + i]!;
      for (let i = 0; i < TAGS; i++) tags[TAGS * to + i] = this.#tags[TAGS * from + i]!;
    }
    this.#leave();
    this.#values = values;
    this.#tags = tags;
    this.#capacity = capacity;
    this.#mask = capacity - 1;
  }

  /** The ring is used no more. */
  #leave(): void {
    if (this.#capacity !== SENT_SLOTS_MIN || spareValues.length >= SPARES_MAX) return;
    spareValues.push(this.#values);
    spareTags.push(this.#tags);
  }
}
