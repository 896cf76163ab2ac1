/**
 * Key update of DATA packets: which key seals the next packet, which opens one that came.
 *
 * Both are of one direction of one session. They know phases, numbers and times; the keys lie in
 * an AEAD table under the ids given here. Phases are 0 and 1 in turn, told by a packet's kind.
 */

import { KEY_OLD_MS, KEY_UPDATE_MS, KEY_UPDATE_PACKETS } from "../wire/limits.ts";
import type { Aead } from "./aead.ts";
import { deriveNextKey } from "./session_keys.ts";
import type { Bytes, Primitives } from "./primitives.ts";

/** No key of that phase. */
export const NO_KEY = -1;

/** The sender's side. */
export class SendKeys {
  phase = 0;
  /** Id of the key that seals now. */
  keyId: number;
  readonly #aead: Aead;
  readonly #key: Bytes;
  #firstNumber = 0;
  #since: number;

  /** Copies the key of phase 0. */
  constructor(aead: Aead, key: Bytes, now: number) {
    this.#aead = aead;
    this.#key = Uint8Array.from(key);
    this.keyId = aead.addKey(this.#key);
    this.#since = now;
  }

  /**
   * Whether it is time for the next key. Not before the peer acknowledged a packet of this phase:
   * two updates that it missed would look like none.
   */
  isDue(now: number, nextNumber: number, largestAcked: number): boolean {
    if (largestAcked < this.#firstNumber) return false;
    return now - this.#since >= KEY_UPDATE_MS ||
      nextNumber - this.#firstNumber >= KEY_UPDATE_PACKETS;
  }

  /** Goes over to the next key, from packet `nextNumber` on; the old one is wiped. */
  update(primitives: Primitives, now: number, nextNumber: number): void {
    deriveNextKey(primitives, this.#key, this.#key);
    const old = this.keyId;
    this.keyId = this.#aead.addKey(this.#key);
    this.#aead.removeKey(old);
    this.phase ^= 1;
    this.#firstNumber = nextNumber;
    this.#since = now;
  }

  wipe(): void {
    if (this.keyId !== NO_KEY) this.#aead.removeKey(this.keyId);
    this.keyId = NO_KEY;
    this.#key.fill(0);
  }
}

/** The receiver's side. */
export class ReceiveKeys {
  phase = 0;
  readonly #aead: Aead;
  /** The key that follows the present one: from it the one after is derived. */
  readonly #nextKey: Bytes;
  #oldId = NO_KEY;
  #currentId: number;
  #nextId: number;
  #firstNumber = 0;
  #oldUntil = -Infinity;

  /** Copies the key of phase 0. */
  constructor(primitives: Primitives, aead: Aead, key: Bytes) {
    this.#aead = aead;
    this.#currentId = aead.addKey(key);
    this.#nextKey = Uint8Array.from(key);
    deriveNextKey(primitives, this.#nextKey, this.#nextKey);
    this.#nextId = aead.addKey(this.#nextKey);
  }

  /** Which key to open a packet with. */
  keyFor(phase: number, number: number): number {
    if (phase === this.phase) return this.#currentId;
    // Of the other phase is what came late from before, and what begins the next.
    return number < this.#firstNumber ? this.#oldId : this.#nextId;
  }

  /**
   * A packet of this phase opened with the key from keyFor(); whether that began a new phase.
   * Call it for every one: most calls compare two numbers.
   */
  opened(primitives: Primitives, phase: number, number: number, now: number): boolean {
    if (phase === this.phase) {
      // Reordered: an earlier packet of this phase than the one that began it here.
      if (number < this.#firstNumber) this.#firstNumber = number;
      return false;
    }
    if (number < this.#firstNumber) return false;
    this.#dropOld();
    this.#oldId = this.#currentId;
    this.#oldUntil = now + KEY_OLD_MS;
    this.#currentId = this.#nextId;
    this.phase = phase;
    this.#firstNumber = number;
    deriveNextKey(primitives, this.#nextKey, this.#nextKey);
    this.#nextId = this.#aead.addKey(this.#nextKey);
    return true;
  }

  /** When expire() is due; Infinity while there is no old key. */
  get expiresAt(): number {
    return this.#oldId === NO_KEY ? Infinity : this.#oldUntil;
  }

  /** Wipes the old key once its time is over. */
  expire(now: number): void {
    if (now >= this.#oldUntil) this.#dropOld();
  }

  wipe(): void {
    this.#dropOld();
    if (this.#currentId !== NO_KEY) this.#aead.removeKey(this.#currentId);
    if (this.#nextId !== NO_KEY) this.#aead.removeKey(this.#nextId);
    this.#currentId = this.#nextId = NO_KEY;
    this.#nextKey.fill(0);
  }

  #dropOld(): void {
    if (this.#oldId !== NO_KEY) this.#aead.removeKey(this.#oldId);
    this.#oldId = NO_KEY;
  }
}
