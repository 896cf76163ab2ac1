/**
 * Which DATA numbers of a session were seen: the last 8192, a bit each, for many sessions.
 *
 * A bit's place is its number modulo 8192, so nothing ever moves; going on clears the bits that
 * come into the window. A session's kilobyte comes from blocks that are made when first needed, and
 * takes up no memory before its first number above 31: until then a word holds all bits, and most
 * idle sessions have never come so far.
 * Ask `check()` before opening a packet, `mark()` only once it opened: who can't seal must not be
 * able to move the window.
 */

import { DATA_WINDOW_NUMBERS } from "../wire/limits.ts";

/** Numbers that a word has bits for. */
const WORD_NUMBERS = 32;
const WORDS = DATA_WINDOW_NUMBERS / WORD_NUMBERS;
const NUMBER_MASK = DATA_WINDOW_NUMBERS - 1;
/** Sessions of a block: 1 MiB of bits. */
const BLOCK_SLOTS = 1024;
const NONE = -1;

export class ReplayWindows {
  readonly capacity: number;
  readonly #blocks: Uint32Array<ArrayBuffer>[] = [];
  /** The bits of a session that has seen no number above 31. */
  readonly #words: Uint32Array<ArrayBuffer>;
  /** The highest number seen; -1 before the first. */
  readonly #highest: Float64Array<ArrayBuffer>;
  readonly #nextFree: Int32Array<ArrayBuffer>;
  #free = NONE;
  #touched = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#words = new Uint32Array(capacity);
    this.#highest = new Float64Array(capacity);
    this.#nextFree = new Int32Array(capacity);
  }

  /**
   * A window that has seen nothing; -1 when all are in use. Bits that an earlier session left stay:
   * each is cleared before it comes to mean a number again.
   */
  acquire(): number {
    let slot = this.#free;
    if (slot !== NONE) {
      this.#free = this.#nextFree[slot]!;
    } else {
      if (this.#touched === this.capacity) return NONE;
      slot = this.#touched++;
      if (slot % BLOCK_SLOTS === 0) this.#blocks.push(new Uint32Array(BLOCK_SLOTS * WORDS));
    }
    this.#highest[slot] = -1;
    this.#words[slot] = 0;
    return slot;
  }

  release(slot: number): void {
    this.#nextFree[slot] = this.#free;
    this.#free = slot;
  }

  /** The highest number marked; -1 before the first. */
  highest(slot: number): number {
    return this.#highest[slot]!;
  }

  /** Whether the number is new: not seen, and not so old that nobody could tell. */
  check(slot: number, number: number): boolean {
    const highest = this.#highest[slot]!;
    if (number > highest) return true;
    if (highest - number >= DATA_WINDOW_NUMBERS || number < 0) return false;
    if (highest < WORD_NUMBERS) return (this.#words[slot]! & 1 << number) === 0;
    const bit = placeOf(number);
    const word = (slot % BLOCK_SLOTS) * WORDS + (bit >>> 5);
    return (this.#blockOf(slot)[word]! & 1 << (bit & 31)) === 0;
  }

  /** Notes a number for which check() is true. */
  mark(slot: number, number: number): void {
    const highest = this.#highest[slot]!;
    if (highest < WORD_NUMBERS && number < WORD_NUMBERS) {
      this.#words[slot]! |= 1 << number;
      if (number > highest) this.#highest[slot] = number;
      return;
    }
    const block = this.#blockOf(slot);
    const from = (slot % BLOCK_SLOTS) * WORDS;
    if (highest < WORD_NUMBERS) block[from] = this.#words[slot]!;
    if (number > highest) {
      this.#highest[slot] = number;
      const ahead = number - highest;
      if (ahead >= DATA_WINDOW_NUMBERS) block.fill(0, from, from + WORDS);
      else clearBits(block, from, placeOf(highest + 1), ahead);
    }
    const bit = placeOf(number);
    block[from + (bit >>> 5)]! |= 1 << (bit & 31);
  }

  #blockOf(slot: number): Uint32Array<ArrayBuffer> {
    return this.#blocks[slot / BLOCK_SLOTS | 0]!;
  }
}

/** A number's place: its lowest bits, also of one above 2^32. */
function placeOf(number: number): number {
  // ToInt32 is modulo 2^32, exactly, for every whole number up to 2^53.
  return number & NUMBER_MASK;
}

/** Clears `count` bits from `bit` on, around the end; fewer than all. */
function clearBits(block: Uint32Array, from: number, bit: number, count: number): void {
  let at = bit;
  let left = count;
  while (left > 0) {
    const inWord = at & 31;
    const run = Math.min(left, 32 - inWord);
    const mask = run === 32 ? -1 : ((1 << run) - 1) << inWord;
    block[from + (at >>> 5)]! &= ~mask;
    left -= run;
    at = (at + run) & NUMBER_MASK;
  }
}
