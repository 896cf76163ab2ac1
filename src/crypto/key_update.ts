/**
 * Key update of DATA packets: which key seals the next packet, which opens one that came.
 *
 * Both are of one direction of one session. They know phases, numbers and times; the keys lie in
 * an AEAD table under the ids given here. Phases are 0 and 1 in turn, told by a packet's kind.
 */

import {
  KEY_BYTES,
  KEY_OLD_MS,
  KEY_UPDATE_PACKETS,
  KEY_UPDATE_PACKETS_AES,
} from "../wire/limits.ts";
import type { Aead } from "./aead.ts";
import { Cipher } from "./ciphers.ts";
import { deriveNextKey } from "./session_keys.ts";
import type { Bytes, Primitives } from "./primitives.ts";

/**
 * What goes to the native side and back. The keys that a session keeps never do: small arrays that
 * never left the heap cost little, and there are many.
 */
const scratch: Bytes = new Uint8Array(KEY_BYTES);

/** No key of that phase. */
export const NO_KEY = -1;

/** The sender's side. */
export class SendKeys {
  phase = 0;
  /** Id of the key that seals now. */
  keyId: number;
  readonly #aead: Aead;
  readonly #cipher: Cipher;
  readonly #key: Bytes;

  /** Copies the key of phase 0. */
  constructor(aead: Aead, key: Bytes, cipher: Cipher) {
    this.#aead = aead;
    this.#cipher = cipher;
    this.#key = new Uint8Array(key);
    this.keyId = aead.addKey(key, cipher);
  }

  /** Packets that one key may seal. */
  get packetsMax(): number {
    return this.#cipher === Cipher.aes256 ? KEY_UPDATE_PACKETS_AES : 2 * KEY_UPDATE_PACKETS;
  }

  /** Goes over to the next key; the old one is wiped. When that is due is PeerKeys' to say. */
  update(primitives: Primitives): void {
    deriveNextKey(primitives, this.#key, scratch);
    const old = this.keyId;
    this.keyId = this.#aead.addKey(scratch, this.#cipher);
    this.#aead.removeKey(old);
    this.#key.set(scratch);
    scratch.fill(0);
    this.phase ^= 1;
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
  readonly #cipher: Cipher;
  /** The key of this phase, or once the next one is derived, that: from it the one after comes. */
  readonly #key: Bytes;
  #oldId = NO_KEY;
  #currentId: number;
  /** Derived when a first packet of the present phase has opened: before that none may follow. */
  #nextId = NO_KEY;
  #firstNumber = 0;
  #oldUntil = -Infinity;

  /** Copies the key of phase 0. */
  constructor(aead: Aead, key: Bytes, cipher: Cipher) {
    this.#aead = aead;
    this.#cipher = cipher;
    this.#currentId = aead.addKey(key, cipher);
    this.#key = new Uint8Array(key);
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
      if (this.#nextId === NO_KEY) this.#deriveNext(primitives);
      return false;
    }
    if (number < this.#firstNumber) return false;
    this.#dropOld();
    this.#oldId = this.#currentId;
    this.#oldUntil = now + KEY_OLD_MS;
    this.#currentId = this.#nextId;
    this.phase = phase;
    this.#firstNumber = number;
    this.#deriveNext(primitives);
    return true;
  }

  #deriveNext(primitives: Primitives): void {
    deriveNextKey(primitives, this.#key, scratch);
    this.#nextId = this.#aead.addKey(scratch, this.#cipher);
    this.#key.set(scratch);
    scratch.fill(0);
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
    this.#key.fill(0);
  }

  #dropOld(): void {
    if (this.#oldId !== NO_KEY) this.#aead.removeKey(this.#oldId);
    this.#oldId = NO_KEY;
  }
}
