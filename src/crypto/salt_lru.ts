/** The salts that were seen last, exactly: a fixed number, the one unseen for longest leaves. */

import { SALT_BYTES } from "../wire/limits.ts";
import type { Bytes } from "./primitives.ts";
import { SlotIndex } from "./slot_index.ts";

const NONE = -1;

export class SaltLru {
  readonly capacity: number;
  readonly #salts: Bytes;
  readonly #newer: Int32Array<ArrayBuffer>;
  readonly #older: Int32Array<ArrayBuffer>;
  readonly #index: SlotIndex;
  #count = 0;
  #newest = NONE;
  #oldest = NONE;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#salts = new Uint8Array(capacity * SALT_BYTES);
    this.#newer = new Int32Array(capacity);
    this.#older = new Int32Array(capacity);
    this.#index = new SlotIndex(capacity);
  }

  get count(): number {
    return this.#count;
  }

  /** Whether the salt at `at` is here; it is the newest then. */
  has(bytes: Uint8Array, at: number, hash: number): boolean {
    let slot = this.#index.first(hash);
    while (slot !== NONE && !this.#isAt(slot, bytes, at)) slot = this.#index.another();
    if (slot === NONE) return false;
    if (slot !== this.#newest) {
      this.#unlink(slot);
      this.#linkNewest(slot);
    }
    return true;
  }

  /** Adds a salt that isn't here. */
  add(bytes: Uint8Array, at: number, hash: number): void {
    let slot = this.#count;
    if (slot < this.capacity) {
      this.#count++;
    } else {
      slot = this.#oldest;
      this.#unlink(slot);
      this.#index.remove(slot);
    }
    for (let i = 0; i < SALT_BYTES; i++) this.#salts[slot * SALT_BYTES + i] = bytes[at + i]!;
    this.#index.insert(slot, hash);
    this.#linkNewest(slot);
  }

  /** Copies all salts out, the oldest first; bytes written. */
  copyTo(target: Uint8Array, at: number): number {
    let end = at;
    for (let slot = this.#oldest; slot !== NONE; slot = this.#newer[slot]!) {
      target.set(this.#salts.subarray(slot * SALT_BYTES, (slot + 1) * SALT_BYTES), end);
      end += SALT_BYTES;
    }
    return end - at;
  }

  clear(): void {
    this.#count = 0;
    this.#newest = this.#oldest = NONE;
    this.#index.clear();
  }

  #isAt(slot: number, bytes: Uint8Array, at: number): boolean {
    const from = slot * SALT_BYTES;
    for (let i = 0; i < SALT_BYTES; i++) if (this.#salts[from + i] !== bytes[at + i]) return false;
    return true;
  }

  #unlink(slot: number): void {
    const newer = this.#newer[slot]!;
    const older = this.#older[slot]!;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
  }

  #linkNewest(slot: number): void {
    this.#newer[slot] = NONE;
    this.#older[slot] = this.#newest;
    if (this.#newest === NONE) this.#oldest = slot;
    else this.#newer[this.#newest] = slot;
    this.#newest = slot;
  }
}
