/**
 * The time that a server's windows follow: the boot clock, which nobody sets, set once by the wall
 * clock. What the wall clock says beyond one window from there counts only after it has said so for
 * 60 s without a break; a return counts at once. So a wall clock that jumps and comes back shuts
 * nobody out.
 *
 *     steady --(beyond one window: jumped)--> waiting --(back: returned)--> steady
 *                                             waiting --(for 60 s: moved, or setBack)--> steady
 *
 * Of windows that come for a second time (setBack) nobody remembers the replays.
 */

import { WINDOW_MS } from "../wire/limits.ts";

/** How long the wall clock has to say the same. */
const BELIEVED_MS = 60_000;

export const ClockChange = {
  none: 0,
  /** The wall clock is elsewhere: windows stay where they are. */
  jumped: 1,
  /** It is back. */
  returned: 2,
  /** It has stayed: windows have gone on to there. */
  moved: 3,
  /** It has stayed, and windows come that there were before: a start without a replay record. */
  setBack: 4,
} as const;
export type ClockChange = typeof ClockChange[keyof typeof ClockChange];

export class ServerClock {
  /** How far the wall clock was from the boot clock when that was last believed. */
  #anchor: number;
  /** The same, within one window of it: what counts. */
  #offset: number;
  /** Where the wall clock has gone, and since when; NaN: nowhere. */
  #elsewhere = NaN;
  #since = 0;
  #latest: number;
  /** Windows up to here were forgotten. */
  #forgotten = -Infinity;

  constructor(wallMs: number, bootMs: number) {
    this.#anchor = this.#offset = wallMs - bootMs;
    this.#latest = wallMs;
  }

  /** To be added to the boot clock, in whole ms. */
  get offsetMs(): number {
    return Math.round(this.#offset);
  }

  /** How far the wall clock was from what counted before, when it last jumped or was believed. */
  jumpedByMs = 0;

  unixMs(bootMs: number): number {
    return bootMs + this.offsetMs;
  }

  /** Takes note of both clocks; several times a second. */
  observe(wallMs: number, bootMs: number): ClockChange {
    const said = wallMs - bootMs;
    this.#latest = Math.max(this.#latest, this.unixMs(bootMs));
    if (Math.abs(said - this.#anchor) <= WINDOW_MS) return this.#settle(said);
    const isElsewhere = !Number.isNaN(this.#elsewhere);
    if (!isElsewhere || Math.abs(said - this.#elsewhere) > WINDOW_MS) {
      this.#elsewhere = said;
      this.#since = bootMs;
      this.jumpedByMs = said - this.#offset;
      return isElsewhere ? ClockChange.none : ClockChange.jumped;
    }
    return bootMs - this.#since < BELIEVED_MS ? ClockChange.none : this.#believe(said, bootMs);
  }

  #settle(said: number): ClockChange {
    const wasElsewhere = !Number.isNaN(this.#elsewhere);
    this.#offset = said;
    this.#elsewhere = NaN;
    return wasElsewhere ? ClockChange.returned : ClockChange.none;
  }

  #believe(said: number, bootMs: number): ClockChange {
    const isBack = said < this.#anchor;
    this.jumpedByMs = said - this.#offset;
    this.#anchor = said;
    this.#settle(said);
    // Also one that comes forward again, to windows of before it was set back.
    const isKnownGround = this.unixMs(bootMs) < this.#forgotten + 2 * WINDOW_MS;
    if (!isBack && !isKnownGround) return ClockChange.moved;
    this.#forgotten = this.#latest;
    return ClockChange.setBack;
  }
}

/** The clock for all threads: an even number where nothing is written, beginnings, the offset. */
const SEQUENCE = 0;
const BEGINNINGS = 1;
const OFFSET_HIGH = 2;
const OFFSET_LOW = 3;
const WORDS = 4;
const TWO_32 = 2 ** 32;

/** What threads see of a clock, written by one of them. */
export class ClockWriter {
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(4 * WORDS);
  readonly #words = new Int32Array(this.memory);

  /** `beginnings`: how often the clock was set back. */
  write(offsetMs: number, beginnings: number): void {
    const words = this.#words;
    Atomics.add(words, SEQUENCE, 1);
    Atomics.store(words, BEGINNINGS, beginnings);
    Atomics.store(words, OFFSET_HIGH, Math.floor(offsetMs / TWO_32));
    Atomics.store(words, OFFSET_LOW, offsetMs | 0);
    Atomics.add(words, SEQUENCE, 1);
  }
}

export class ClockReader {
  readonly #words: Int32Array;
  readonly #bootMs: () => number;
  #sequence = -1;
  #offset = 0;
  #beginnings = 0;

  /** `bootMs`: the boot clock. */
  constructor(memory: SharedArrayBuffer, bootMs: () => number) {
    this.#words = new Int32Array(memory);
    this.#bootMs = bootMs;
    this.unixMs();
  }

  unixMs(): number {
    if (Atomics.load(this.#words, SEQUENCE) !== this.#sequence) this.#read();
    return this.#bootMs() + this.#offset;
  }

  /** How often windows have begun anew; in step with what unixMs() gave last. */
  get beginnings(): number {
    return this.#beginnings;
  }

  /** What takes its writer less than a microsecond. */
  #read(): void {
    const words = this.#words;
    do {
      this.#sequence = Atomics.load(words, SEQUENCE);
      this.#beginnings = Atomics.load(words, BEGINNINGS);
      const low = Atomics.load(words, OFFSET_LOW) >>> 0;
      this.#offset = Atomics.load(words, OFFSET_HIGH) * TWO_32 + low;
    } while (this.#sequence % 2 !== 0 || Atomics.load(words, SEQUENCE) !== this.#sequence);
  }
}
