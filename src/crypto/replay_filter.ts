/**
 * Which HELLO salts were seen: no HELLO is acted upon twice.
 *
 * The last 100,000 salts are kept exactly; behind them stands a Bloom filter for each window that
 * is accepted. A hit in either is a replay: the exact part forgets, and a forgotten salt must not
 * pass. A new salt that hits by chance costs its client one retry. A window of which a million
 * HELLOs came takes no more.
 *
 * Of a clean stop `save()` keeps the record. It is good for one start: whoever restores it removes
 * it first, or a crash would bring an old one back. Without a record a server can't tell a replay
 * for three windows (`canTell`), and holds back what a HELLO asks for.
 */

import { Reader, Writer } from "../wire/cursor.ts";
import {
  REPLAY_BLIND_MS,
  REPLAY_EXACT_MAX,
  REPLAY_SLICE_MAX,
  REPLAY_SLICES_MAX,
  SALT_BYTES,
} from "../wire/limits.ts";
import { SIP_KEY_WORDS, sipHash, sipKey } from "../wire/siphash.ts";
import { BLOOM_BYTES, BloomSlice } from "./bloom_slice.ts";
import { type Bytes, equalBytes, type Primitives } from "./primitives.ts";
import { SaltLru } from "./salt_lru.ts";

export const ReplayVerdict = {
  /** Not seen before, and recorded now. */
  fresh: 0,
  replay: 1,
  /** Its window has had all the HELLOs that there is room for. */
  full: 2,
  /** Its window is not accepted any more. */
  old: 3,
} as const;
export type ReplayVerdict = typeof ReplayVerdict[keyof typeof ReplayVerdict];

const SIP_KEY_BYTES = 16;
const CHECKSUM_BYTES = 32;
const RECORD_MAGIC = 0x5048_5231;
// magic u32, oldest window u64, salts u32, slices u8, SipHash key.
const RECORD_HEAD_BYTES = 4 + 8 + 4 + 1 + SIP_KEY_BYTES;
// window u64, entries u32, bits.
const SLICE_BYTES = 8 + 4 + BLOOM_BYTES;

/** Sizes, smaller in tests. */
export interface ReplayLimits {
  readonly exact: number;
  readonly slice: number;
}

export class ReplayFilter {
  /** How often what happened. */
  readonly counts = { fresh: 0, exact: 0, bloom: 0, full: 0, old: 0 };

  readonly #primitives: Primitives;
  readonly #sliceMax: number;
  readonly #exact: SaltLru;
  readonly #slices: BloomSlice[] = [];
  readonly #keyBytes: Bytes = new Uint8Array(SIP_KEY_BYTES);
  readonly #key = new Uint32Array(SIP_KEY_WORDS);
  readonly #hash = new Uint32Array(2);
  #blindUntil: number;
  #oldest = 0;

  /** `now` is monotonic, in ms. */
  constructor(primitives: Primitives, now: number, limits?: ReplayLimits) {
    this.#primitives = primitives;
    this.#sliceMax = limits?.slice ?? REPLAY_SLICE_MAX;
    this.#exact = new SaltLru(limits?.exact ?? REPLAY_EXACT_MAX);
    this.#blindUntil = now + REPLAY_BLIND_MS;
    primitives.random(this.#keyBytes);
    sipKey(this.#keyBytes, 0, this.#key);
  }

  /** Whether "fresh" means that it was never seen: not so in the first 90 s without a record. */
  canTell(now: number): boolean {
    return now >= this.#blindUntil;
  }

  /** The lowest window that may still be asked about; a restored record brings it along. */
  get oldest(): number {
    return this.#oldest;
  }

  /** Forgets the windows below: they are not accepted any more. Never goes back. */
  advance(oldest: number): void {
    if (oldest <= this.#oldest) return;
    this.#oldest = oldest;
    for (const slice of this.#slices) if (slice.window < oldest) slice.window = -1;
  }

  /** Asks about the salt at `at` of a HELLO that opened, and records it. */
  admit(window: number, bytes: Uint8Array, at: number): ReplayVerdict {
    const { counts } = this;
    if (window < this.#oldest) {
      counts.old++;
      return ReplayVerdict.old;
    }
    sipHash(this.#key, 0, bytes, at, SALT_BYTES, this.#hash);
    const low = this.#hash[0]!;
    const high = this.#hash[1]!;
    if (this.#exact.has(bytes, at, low)) {
      counts.exact++;
      return ReplayVerdict.replay;
    }
    const slice = this.#sliceOf(window);
    if (slice?.has(low, high)) {
      counts.bloom++;
      return ReplayVerdict.replay;
    }
    if (slice === undefined || slice.count >= this.#sliceMax) {
      counts.full++;
      return ReplayVerdict.full;
    }
    this.#exact.add(bytes, at, low);
    slice.add(low, high);
    counts.fresh++;
    return ReplayVerdict.fresh;
  }

  /** The record as bytes: for a file that only the server reads. */
  save(): Bytes {
    const slices = this.#slices.filter((slice) => slice.window >= 0 && slice.count > 0);
    const length = RECORD_HEAD_BYTES + this.#exact.count * SALT_BYTES +
      slices.length * SLICE_BYTES + CHECKSUM_BYTES;
    const w = new Writer(new Uint8Array(length));
    w.u32(RECORD_MAGIC);
    w.u64(this.#oldest);
    w.u32(this.#exact.count);
    w.u8(slices.length);
    w.copy(this.#keyBytes, 0, SIP_KEY_BYTES);
    w.at += this.#exact.copyTo(w.bytes, w.at);
    for (const slice of slices) {
      w.u64(slice.window);
      w.u32(slice.count);
      w.copy(slice.bits, 0, BLOOM_BYTES);
    }
    const record = w.bytes as Bytes;
    record.set(this.#primitives.sha256(record.subarray(0, w.at)), w.at);
    return record;
  }

  /**
   * Takes over a record, before the first HELLO; false, with nothing changed, when it is damaged
   * or of another version.
   */
  restore(record: Uint8Array): boolean {
    if (this.counts.fresh > 0) {
      throw new TypeError("Cannot restore a replay record after the first HELLO");
    }
    const end = record.length - CHECKSUM_BYTES;
    if (end < RECORD_HEAD_BYTES) return false;
    const checksum = this.#primitives.sha256(record.subarray(0, end));
    if (!equalBytes(checksum, 0, record, end, CHECKSUM_BYTES)) return false;
    const r = new Reader(record, 0, end);
    if (r.u32() !== RECORD_MAGIC) return false;
    const oldest = r.u64();
    const salts = r.u32();
    const slices = r.u8();
    const length = RECORD_HEAD_BYTES + salts * SALT_BYTES + slices * SLICE_BYTES;
    if (r.failed || slices > REPLAY_SLICES_MAX || length !== end) return false;
    r.copyTo(this.#keyBytes, 0, SIP_KEY_BYTES);
    sipKey(this.#keyBytes, 0, this.#key);
    this.#restoreSalts(r, salts);
    this.#restoreSlices(r, slices);
    this.#oldest = oldest;
    this.#blindUntil = -Infinity;
    return true;
  }

  #restoreSalts(r: Reader, count: number): void {
    this.#exact.clear();
    for (let i = 0; i < count; i++) {
      const at = r.skip(SALT_BYTES);
      sipHash(this.#key, 0, r.bytes, at, SALT_BYTES, this.#hash);
      this.#exact.add(r.bytes, at, this.#hash[0]!);
    }
  }

  #restoreSlices(r: Reader, count: number): void {
    this.#slices.length = 0;
    for (let i = 0; i < count; i++) {
      const slice = new BloomSlice();
      slice.reset(r.u64());
      slice.count = r.u32();
      r.copyTo(slice.bits, 0, BLOOM_BYTES);
      this.#slices.push(slice);
    }
  }

  /** The slice of a window, made at its first use; undefined when there is no room for one. */
  #sliceOf(window: number): BloomSlice | undefined {
    let unused: BloomSlice | undefined;
    for (const slice of this.#slices) {
      if (slice.window === window) return slice;
      if (slice.window < 0) unused = slice;
    }
    if (unused === undefined) {
      if (this.#slices.length === REPLAY_SLICES_MAX) return undefined;
      unused = new BloomSlice();
      this.#slices.push(unused);
    }
    unused.reset(window);
    return unused;
  }
}
