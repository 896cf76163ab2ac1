/**
 * Time-window key derivation: the keys of this half minute, the one before and the one after.
 *
 *     window(t)     = floor(unix seconds / 30)
 *     window_key(w) = HKDF(PSK, "phantom-tskd-v1", u64(w), 32)
 *     mask_key(w)   = HKDF(PSK, "phantom-mask-v5", u64(w), 16)
 *
 * Misuse to avoid: keeping what `windowKey()` returns. It is the live memory, which is wiped when
 * the window leaves.
 */

import { KEY_BYTES, MASK_KEY_BYTES, WINDOW_MS } from "../wire/limits.ts";
import { SIP_KEY_WORDS, sipKey } from "../wire/siphash.ts";
import { type Bytes, label, type Primitives } from "./primitives.ts";

/** The windows that are accepted: the present one, the next, the one before. */
const TSKD_WINDOWS = 3;
/** A window's keys are derived this long before it becomes the next one. */
const TSKD_AHEAD_MS = 5_000;

// w-1 to w+2: a window's place is its number modulo this.
const PLACES = 4;
const NO_WINDOW = -1;
const WINDOW_LABEL = label("phantom-tskd-v1");
const MASK_LABEL = label("phantom-mask-v5");

/** The window of a time. */
export function windowOf(unixMs: number): number {
  return Math.max(0, Math.floor(unixMs / WINDOW_MS));
}

/** u64(w), as both HKDFs take it. */
function windowInfo(window: number): Bytes {
  const info = new Uint8Array(8);
  new DataView(info.buffer).setBigUint64(0, BigInt(window));
  return info;
}

/** The mask key of a window, for whoever needs no other. */
export function maskKeyOf(primitives: Primitives, psk: Uint8Array, window: number): Bytes {
  return primitives.hkdf(psk, MASK_LABEL, windowInfo(window), MASK_KEY_BYTES);
}

/** The window keys of one PSK, for a clock that only goes forward. */
export class Tskd {
  /**
   * For unmaskHeader() and the native batch: the mask keys of the accepted windows as SipHash
   * words, the present one first. Only the first `maskCount` are to be used.
   */
  readonly maskWords: Uint32Array<ArrayBuffer> = new Uint32Array(TSKD_WINDOWS * SIP_KEY_WORDS);
  /** The same as bytes. */
  readonly maskKeys: Bytes = new Uint8Array(TSKD_WINDOWS * MASK_KEY_BYTES);
  /** Which window each of them is of. */
  readonly maskWindows: Float64Array<ArrayBuffer> = new Float64Array(TSKD_WINDOWS).fill(NO_WINDOW);
  maskCount = 0;
  /** The window of now: what a sender uses. */
  current = NO_WINDOW;
  /** The lowest window that is still accepted. */
  oldest = 0;

  readonly #primitives: Primitives;
  readonly #psk: Bytes;
  readonly #windows = new Float64Array(PLACES).fill(NO_WINDOW);
  readonly #windowKeys: readonly Bytes[];
  readonly #maskKeys: readonly Bytes[];

  /** `oldest`: the lowest window to be accepted, from the record of an earlier run. */
  constructor(primitives: Primitives, psk: Uint8Array, oldest = 0) {
    if (psk.length !== KEY_BYTES) {
      throw new RangeError(
        `Cannot derive window keys as the PSK must have ${KEY_BYTES} bytes: ` +
          `current length is ${psk.length}`,
      );
    }
    this.#primitives = primitives;
    this.#psk = Uint8Array.from(psk);
    this.#windowKeys = Array.from({ length: PLACES }, () => new Uint8Array(KEY_BYTES));
    this.#maskKeys = Array.from({ length: PLACES }, () => new Uint8Array(MASK_KEY_BYTES));
    this.oldest = oldest;
  }

  /**
   * Takes note of the time; whether the window changed. Call it before a batch of packets: most
   * calls compare two numbers.
   *
   * A clock that was set back stops here at the highest window used, minus one: no lower one is
   * accepted again, since its replays may be forgotten.
   */
  tick(unixMs: number): boolean {
    const window = Math.max(windowOf(unixMs), this.oldest);
    const isNew = window !== this.current;
    if (isNew) this.#enter(window);
    if (unixMs - window * WINDOW_MS >= WINDOW_MS - TSKD_AHEAD_MS) this.#derive(window + 2);
    return isNew;
  }

  /** Whatever window comes next is accepted, also one of before: for a clock that was set back. */
  startOver(): void {
    this.current = NO_WINDOW;
    this.oldest = 0;
  }

  accepts(window: number): boolean {
    return window >= this.oldest && Math.abs(window - this.current) <= 1 && this.current >= 0;
  }

  /** The live key of an accepted window. */
  windowKey(window: number): Bytes {
    return this.#windowKeys[this.#place(window)]!;
  }

  /** Zeroes all keys; nothing is accepted from then on. */
  wipe(): void {
    this.#psk.fill(0);
    for (let place = 0; place < PLACES; place++) this.#wipePlace(place);
    this.maskWords.fill(0);
    this.maskKeys.fill(0);
    this.maskWindows.fill(NO_WINDOW);
    this.maskCount = 0;
    this.current = NO_WINDOW;
    this.oldest = Infinity;
  }

  #place(window: number): number {
    const place = window % PLACES;
    if (this.accepts(window) && this.#windows[place] === window) return place;
    throw new RangeError(
      `Cannot use the key of window ${window} as it must be one of ${this.oldest} to ` +
        `${this.current + 1}`,
    );
  }

  #enter(window: number): void {
    if (this.oldest === Infinity) throw new TypeError("Cannot use window keys after a wipe");
    this.oldest = Math.max(this.oldest, window - 1);
    this.current = window;
    for (let place = 0; place < PLACES; place++) {
      const held = this.#windows[place]!;
      if (held < this.oldest || held > window + 2) this.#wipePlace(place);
    }
    this.maskWords.fill(0);
    this.maskKeys.fill(0);
    this.maskWindows.fill(NO_WINDOW);
    this.maskCount = 0;
    this.#offer(window);
    this.#offer(window + 1);
    if (window - 1 >= this.oldest) this.#offer(window - 1);
  }

  #offer(window: number): void {
    const i = this.maskCount++;
    this.maskKeys.set(this.#maskKeys[this.#derive(window)]!, i * MASK_KEY_BYTES);
    sipKey(this.maskKeys, i * MASK_KEY_BYTES, this.maskWords, i * SIP_KEY_WORDS);
    this.maskWindows[i] = window;
  }

  /** Where the window's keys are; derived when they aren't yet. */
  #derive(window: number): number {
    const place = window % PLACES;
    if (this.#windows[place] === window) return place;
    const info = windowInfo(window);
    const key = this.#primitives.hkdf(this.#psk, WINDOW_LABEL, info, KEY_BYTES);
    const mask = maskKeyOf(this.#primitives, this.#psk, window);
    this.#windowKeys[place]!.set(key);
    this.#maskKeys[place]!.set(mask);
    this.#windows[place] = window;
    key.fill(0);
    mask.fill(0);
    return place;
  }

  #wipePlace(place: number): void {
    this.#windowKeys[place]!.fill(0);
    this.#maskKeys[place]!.fill(0);
    this.#windows[place] = NO_WINDOW;
  }
}
