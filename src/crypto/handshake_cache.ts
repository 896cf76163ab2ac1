/**
 * The HELLOs that were accepted, by client_session, client_public and user: a repeated one gets
 * the same server_session and public key again, and its 0-RTT frames are not run twice.
 *
 * An entry stays as long as its session lives, and 90 s more: longer than any HELLO still under
 * way could be accepted. There is room for a fixed number; when all of it is in use, further
 * HELLOs are refused, and nobody is forgotten for their sake.
 */

import { copyBytes } from "../base/copy.ts";
import { HANDSHAKE_KEEP_MS, KEY_BYTES } from "../wire/limits.ts";
import { SIP_KEY_WORDS, sipHash, sipKey } from "../wire/siphash.ts";
import { type Bytes, equalBytes, type Primitives } from "./primitives.ts";
import { HANDSHAKE_NAME_BYTES, writeHandshakeName } from "./replay_memory.ts";
import { SlotIndex } from "./slot_index.ts";

const ENTRY_BYTES = HANDSHAKE_NAME_BYTES + KEY_BYTES;
/**
 * Entries that are made at a time. All of them at once are so much that V8 starts to collect
 * garbage for it, while the worker starts.
 */
const BLOCK_ENTRIES = 4096;
/** Of a choice: the client has answered. */
const SETTLED = 0x80;
const NONE = -1;

export class HandshakeCache {
  readonly capacity: number;
  /** HELLOs that were refused for want of room. */
  refused = 0;

  /** Of each entry its name and server_public. */
  readonly #blocks: Bytes[] = [];
  readonly #serverSessions: Float64Array<ArrayBuffer>;
  /** What ACCEPT says beside: ciphers and flags, and whether it is said again. */
  readonly #choices: Uint8Array<ArrayBuffer>;
  readonly #releasedAt: Float64Array<ArrayBuffer>;
  /** Chains the free entries, and the released ones in the order of their release. */
  readonly #next: Int32Array<ArrayBuffer>;
  readonly #index: SlotIndex;
  readonly #key = new Uint32Array(SIP_KEY_WORDS);
  readonly #hash = new Uint32Array(2);
  readonly #wanted: Bytes = new Uint8Array(HANDSHAKE_NAME_BYTES);
  #count = 0;
  #touched = 0;
  #free = NONE;
  #firstReleased = NONE;
  #lastReleased = NONE;

  constructor(primitives: Primitives, capacity: number) {
    this.capacity = capacity;
    this.#serverSessions = new Float64Array(capacity);
    this.#choices = new Uint8Array(capacity);
    this.#releasedAt = new Float64Array(capacity);
    this.#next = new Int32Array(capacity);
    this.#index = new SlotIndex(capacity);
    const key = new Uint8Array(16);
    primitives.random(key);
    sipKey(key, 0, this.#key);
  }

  get count(): number {
    return this.#count;
  }

  /** The entry of this HELLO, or -1. */
  find(clientSession: number, clientPublic: Uint8Array, userId: Uint8Array): number {
    const hash = this.#want(clientSession, clientPublic, userId);
    let slot = this.#index.first(hash);
    while (slot !== NONE && !this.#isWanted(slot)) slot = this.#index.another();
    return slot;
  }

  /** Adds an entry that find() did not find; -1 when there is no room. */
  add(
    clientSession: number,
    clientPublic: Uint8Array,
    userId: Uint8Array,
    serverSession: number,
    serverPublic: Uint8Array,
    choice: number,
  ): number {
    const slot = this.#take();
    if (slot === NONE) {
      this.refused++;
      return NONE;
    }
    const hash = this.#want(clientSession, clientPublic, userId);
    const [block, at] = [this.#blockOf(slot), atOf(slot)];
    copyBytes(block, at, this.#wanted, 0, HANDSHAKE_NAME_BYTES);
    copyBytes(block, at + HANDSHAKE_NAME_BYTES, serverPublic, 0, KEY_BYTES);
    this.#serverSessions[slot] = serverSession;
    this.#choices[slot] = choice;
    this.#releasedAt[slot] = Infinity;
    this.#index.insert(slot, hash);
    this.#count++;
    return slot;
  }

  /** What writeHandshakeName() wrote of it: a copy. */
  name(slot: number): Bytes {
    const at = atOf(slot);
    return this.#blockOf(slot).slice(at, at + HANDSHAKE_NAME_BYTES);
  }

  serverSession(slot: number): number {
    return this.#serverSessions[slot]!;
  }

  /** What was given to add(), up to 0x7f. */
  choice(slot: number): number {
    return this.#choices[slot]! & ~SETTLED;
  }

  /** The client has the answer: it is not said again. */
  settle(slot: number): void {
    this.#choices[slot]! |= SETTLED;
  }

  /** Whether a HELLO of this handshake tells nothing new: it gets no answer. */
  isSettled(slot: number): boolean {
    return (this.#choices[slot]! & SETTLED) !== 0 || this.isReleased(slot);
  }

  /** A copy. */
  serverPublic(slot: number): Bytes {
    const at = atOf(slot) + HANDSHAKE_NAME_BYTES;
    return this.#blockOf(slot).slice(at, at + KEY_BYTES);
  }

  /** Whether the entry's session has gone: it gets no answer, and no new session either. */
  isReleased(slot: number): boolean {
    return this.#releasedAt[slot] !== Infinity;
  }

  /** The entry's session has gone. */
  release(slot: number, now: number): void {
    if (this.isReleased(slot)) return;
    this.#releasedAt[slot] = now;
    this.#next[slot] = NONE;
    if (this.#lastReleased === NONE) this.#firstReleased = slot;
    else this.#next[this.#lastReleased] = slot;
    this.#lastReleased = slot;
  }

  /** Frees what was released long enough ago; how many entries. */
  expire(now: number): number {
    let freed = 0;
    let slot = this.#firstReleased;
    while (slot !== NONE && this.#releasedAt[slot]! + HANDSHAKE_KEEP_MS <= now) {
      const next = this.#next[slot]!;
      this.#index.remove(slot);
      this.#next[slot] = this.#free;
      this.#free = slot;
      slot = next;
      freed++;
    }
    this.#firstReleased = slot;
    if (slot === NONE) this.#lastReleased = NONE;
    this.#count -= freed;
    return freed;
  }

  #take(): number {
    const slot = this.#free;
    if (slot !== NONE) {
      this.#free = this.#next[slot]!;
      return slot;
    }
    if (this.#touched === this.capacity) return NONE;
    if (this.#touched % BLOCK_ENTRIES === 0) {
      this.#blocks.push(new Uint8Array(BLOCK_ENTRIES * ENTRY_BYTES));
    }
    return this.#touched++;
  }

  #blockOf(slot: number): Bytes {
    return this.#blocks[Math.floor(slot / BLOCK_ENTRIES)]!;
  }

  #want(clientSession: number, clientPublic: Uint8Array, userId: Uint8Array): number {
    writeHandshakeName(this.#wanted, clientSession, clientPublic, userId);
    sipHash(this.#key, 0, this.#wanted, 0, HANDSHAKE_NAME_BYTES, this.#hash);
    return this.#hash[0]!;
  }

  #isWanted(slot: number): boolean {
    return equalBytes(this.#wanted, 0, this.#blockOf(slot), atOf(slot), HANDSHAKE_NAME_BYTES);
  }
}

/** Where in its block an entry begins. */
function atOf(slot: number): number {
  return (slot % BLOCK_ENTRIES) * ENTRY_BYTES;
}
