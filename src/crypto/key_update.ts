/**
 * Key update of DATA packets: which key seals the next packet, which opens one that came.
 *
 * Both are of one direction of one session. They know phases, numbers and times; the keys lie in
 * an AEAD table under the ids given here. Phases are 0 and 1 in turn, told by a packet's kind.
 */

import { copyBytes } from "../base/copy.ts";
import { Rows } from "../base/rows.ts";
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

/** What goes to the native side and back. */
const scratch: Bytes = new Uint8Array(KEY_BYTES);

/** No key of that phase. */
export const NO_KEY = -1;

/**
 * Keys that sessions keep to derive the next ones from, one a row. There they stay where they are
 * until they are wiped: what lies in the heap is moved, and leaves copies behind.
 */
const rows = new Rows<Bytes>(KEY_BYTES, 8, (length) => new Uint8Array(length));
const NO_ROW = -1;

/** Copies a key; where it is kept. */
function keep(key: Uint8Array): number {
  const row = rows.take();
  copyBytes(rows.block(row), rows.at(row), key, 0, KEY_BYTES);
  return row;
}

/** Puts the key that follows into `scratch`. */
function deriveNext(primitives: Primitives, row: number): void {
  copyBytes(scratch, 0, rows.block(row), rows.at(row), KEY_BYTES);
  deriveNextKey(primitives, scratch, scratch);
}

/** Keeps what is in `scratch` instead, and wipes it there. */
function keepNext(row: number): void {
  copyBytes(rows.block(row), rows.at(row), scratch, 0, KEY_BYTES);
  scratch.fill(0);
}

function wipeKept(row: number): void {
  if (row === NO_ROW) return;
  rows.block(row).fill(0, rows.at(row), rows.at(row) + KEY_BYTES);
  rows.give(row);
}

/** The sender's side. */
export class SendKeys {
  phase = 0;
  /** Id of the key that seals now. */
  keyId: number;
  readonly #aead: Aead;
  readonly #cipher: Cipher;
  /** Where that key is kept. */
  #row: number;

  /** Copies the key of phase 0. */
  constructor(aead: Aead, key: Bytes, cipher: Cipher) {
    this.#aead = aead;
    this.#cipher = cipher;
    this.keyId = aead.addKey(key, cipher);
    this.#row = keep(key);
  }

  /** Packets that one key may seal. */
  get packetsMax(): number {
    return this.#cipher === Cipher.aes256 ? KEY_UPDATE_PACKETS_AES : 2 * KEY_UPDATE_PACKETS;
  }

  /** Goes over to the next key; the old one is wiped. When that is due is PeerKeys' to say. */
  update(primitives: Primitives): void {
    deriveNext(primitives, this.#row);
    const old = this.keyId;
    this.keyId = this.#aead.addKey(scratch, this.#cipher);
    this.#aead.removeKey(old);
    keepNext(this.#row);
    this.phase ^= 1;
  }

  wipe(): void {
    if (this.keyId !== NO_KEY) this.#aead.removeKey(this.keyId);
    this.keyId = NO_KEY;
    wipeKept(this.#row);
    this.#row = NO_ROW;
  }
}

/** The receiver's side. */
export class ReceiveKeys {
  phase = 0;
  readonly #aead: Aead;
  readonly #cipher: Cipher;
  /**
   * Where the key of this phase is kept, or once the next one is derived, that: from it the one
   * after comes.
   */
  #row: number;
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
    this.#row = keep(key);
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
    deriveNext(primitives, this.#row);
    this.#nextId = this.#aead.addKey(scratch, this.#cipher);
    keepNext(this.#row);
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
    wipeKept(this.#row);
    this.#row = NO_ROW;
  }

  #dropOld(): void {
    if (this.#oldId !== NO_KEY) this.#aead.removeKey(this.#oldId);
    this.#oldId = NO_KEY;
  }
}
