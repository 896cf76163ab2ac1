/**
 * Sessions that ended in the last 90 s, here or in the server of before: their ids, and the first
 * packet number that none of their packets had. Whoever repeats an old packet gets no RESET for it,
 * nor a second one for the same; a client that goes on sending, of which new numbers come, does.
 *
 * There is room for a fixed number; the one that ended first is forgotten first.
 */

import { SlotIndex } from "../../crypto/slot_index.ts";
import { Reader, Writer } from "../../wire/cursor.ts";
import { ENDED_KEEP_MS } from "../../wire/limits.ts";

export const ENDED_MAX = 65_536;
// id u48, next number u48, age in seconds u8.
export const ENDED_BYTES = 13;
/** Seconds that an entry may be old: 0 to one less. */
const AGES = ENDED_KEEP_MS / 1000;
const TWO_32 = 2 ** 32;
const NONE = -1;

export class EndedSessions {
  readonly #capacity: number;
  readonly #ids: Float64Array<ArrayBuffer>;
  readonly #next: Float64Array<ArrayBuffer>;
  readonly #endedAt: Float64Array<ArrayBuffer>;
  readonly #index: SlotIndex;
  /** How many have ended; the last is at the place before this one's. */
  #count = 0;

  constructor(capacity = ENDED_MAX) {
    this.#capacity = capacity;
    this.#ids = new Float64Array(capacity);
    this.#next = new Float64Array(capacity);
    this.#endedAt = new Float64Array(capacity);
    this.#index = new SlotIndex(capacity);
  }

  /** A session is over, of which `highest` is the highest number that opened; -1: none did. */
  remember(id: number, highest: number, now: number): void {
    this.#add(id, highest + 1, now);
  }

  /** Whether the id is still some former session's; it is not to be given out meanwhile. */
  has(id: number, now: number): boolean {
    return this.#find(id, now) !== NONE;
  }

  /** Whether a packet of a session that is not here may get a RESET. */
  mayReset(id: number, number: number, now: number): boolean {
    const slot = this.#find(id, now);
    return slot === NONE || number >= this.#next[slot]!;
  }

  /** A packet has had its RESET: no other of its number, nor of a lower one, gets one again. */
  answered(id: number, number: number, now: number): void {
    const slot = this.#find(id, now);
    if (slot === NONE) this.#add(id, number + 1, now);
    else this.#next[slot] = number + 1;
  }

  /** Those that are remembered, the oldest first, for the record of a clean stop. */
  save(now: number): Uint8Array<ArrayBuffer> {
    const slots = [...this.#slots()].filter((slot) => this.#isRemembered(slot, now));
    const w = new Writer(new Uint8Array(slots.length * ENDED_BYTES));
    for (const slot of slots) {
      w.u48(this.#ids[slot]!);
      w.u48(this.#next[slot]!);
      w.u8(Math.max(0, Math.floor((now - this.#endedAt[slot]!) / 1000)));
    }
    return w.bytes as Uint8Array<ArrayBuffer>;
  }

  /** Takes in what another one saved, the oldest first; those whose id `isWanted`. */
  restore(saved: Uint8Array, now: number, isWanted: (id: number) => boolean): void {
    const r = new Reader(saved);
    while (r.left >= ENDED_BYTES) {
      const id = r.u48();
      const next = r.u48();
      const endedAt = now - 1000 * r.u8();
      if (isWanted(id)) this.#add(id, next, endedAt);
    }
  }

  #add(id: number, next: number, endedAt: number): void {
    const slot = this.#count % this.#capacity;
    if (this.#count >= this.#capacity) this.#index.remove(slot);
    this.#count++;
    this.#ids[slot] = id;
    this.#next[slot] = next;
    this.#endedAt[slot] = endedAt;
    this.#index.insert(slot, hashOf(id));
  }

  /** The place of the session of this id that ended last. */
  #find(id: number, now: number): number {
    let found = NONE;
    const index = this.#index;
    for (let slot = index.first(hashOf(id)); slot !== NONE; slot = index.another()) {
      if (this.#ids[slot] !== id || !this.#isRemembered(slot, now)) continue;
      if (found === NONE || this.#next[slot]! > this.#next[found]!) found = slot;
    }
    return found;
  }

  #isRemembered(slot: number, now: number): boolean {
    return now - this.#endedAt[slot]! < ENDED_KEEP_MS;
  }

  *#slots(): Generator<number> {
    for (let i = Math.max(0, this.#count - this.#capacity); i < this.#count; i++) {
      yield i % this.#capacity;
    }
  }
}

/** Several lists as one, the oldest first, of the youngest `max`; all are `olderS` older. */
export function mergeEnded(
  lists: readonly Uint8Array[],
  max: number,
  olderS = 0,
): Uint8Array<ArrayBuffer> {
  const counts = new Uint32Array(AGES);
  eachEntry(lists, olderS, (ageS) => counts[ageS]!++);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const merged = new Uint8Array(Math.min(total, max) * ENDED_BYTES);
  // Where the next one of each age goes; less than 0: it is one too many.
  const places = new Int32Array(AGES);
  let place = Math.min(0, max - total);
  for (let ageS = AGES - 1; ageS >= 0; ageS--) {
    places[ageS] = place;
    place += counts[ageS]!;
  }
  eachEntry(lists, olderS, (ageS, list, at) => {
    const to = places[ageS]!++ * ENDED_BYTES;
    if (to < 0) return;
    merged.set(list.subarray(at, at + ENDED_BYTES), to);
    merged[to + ENDED_BYTES - 1] = ageS;
  });
  return merged;
}

/** Those that are still to be remembered. */
function eachEntry(
  lists: readonly Uint8Array[],
  olderS: number,
  act: (ageS: number, list: Uint8Array, at: number) => void,
): void {
  for (const list of lists) {
    for (let at = 0; at + ENDED_BYTES <= list.length; at += ENDED_BYTES) {
      const ageS = list[at + ENDED_BYTES - 1]! + olderS;
      if (ageS < AGES) act(ageS, list, at);
    }
  }
}

/** Ids are the server's own random numbers: nobody else makes them meet. */
function hashOf(id: number): number {
  return (id ^ Math.floor(id / TWO_32)) >>> 0;
}
