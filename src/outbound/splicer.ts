/**
 * What all ends of a worker share: the memory that sockets are read into and in which small pieces
 * towards them gather, how much may be read in a round, how much may be kept in copies, and the
 * work of the end of a round.
 */

import { Shares } from "../base/shares.ts";
import { type Loop, NOT_ARMED, type Task, type Timer } from "../loop/loop.ts";

/** Bytes read from one socket at a time, and in one round. */
export const READ_BYTES = 128 << 10;
export const READ_ROUND_BYTES = 256 << 10;
/** Bytes read of all sockets before packets get their turn again. */
const READ_ALL_BYTES = 2 << 20;
/** Memory where pieces towards one socket gather during a round, and how many sockets have one. */
export const GATHER_BYTES = 64 << 10;
const GATHER_SLOTS = 32;
/**
 * What all ends may hold in copies: pieces that a socket or its peer did not take. Nobody can be
 * made to give them up: a session, and all of one user, may hold no more than what is left ...
 */
export const HELD_BYTES_MAX = 32 << 20;
/** ... but so much whatever the others hold: who comes late is served, too. */
export const HELD_BYTES_SURE = 16 << 10;
/** Up to here it is not asked who holds them. */
const HELD_BYTES_FREE = 8 << 20;
/** Less is not worth a read. */
const HELD_BYTES_MIN = 1 << 10;
/** When to offer again what there was no memory for, and to how many at a time. */
const RETRY_MS = 20;
const RETRIES_AT_ONCE = 256;

export const NO_SLOT = -1;
const NOBODY: Holder = {};

/** Counted since the start. */
export class SpliceCounters {
  /** Towards sockets. */
  bytesUp = 0;
  /** From sockets. */
  bytesDown = 0;
  /** A copy was not made since all together held too much. */
  heldFull = 0;
  /** Exceptions that ended a connection: none is expected. */
  faults = 0;
}

/** On whose account copies are held: a session, and whose it is. Without, on all ends'. */
export interface Holder {
  readonly asker?: object;
  readonly user?: string;
}

/** Has a slot of the gathering memory. */
export interface Gatherer {
  /** Writes what has gathered. */
  flush(): void;
}

/** Reads at the end of a round. */
export interface Reader {
  readAgain(): void;
}

/** Is to be tried again. */
export interface Retrier {
  retry(): void;
}

export class Splicer implements Task {
  isPosted = false;
  readonly counters: SpliceCounters = new SpliceCounters();
  readonly loop: Loop;
  readonly readArena: Uint8Array<ArrayBuffer> = new Uint8Array(READ_BYTES);
  readonly gatherArena: Uint8Array<ArrayBuffer> = new Uint8Array(GATHER_SLOTS * GATHER_BYTES);
  /** Bytes in copies of all ends. */
  held = 0;
  readonly #holders = new Shares<object>(HELD_BYTES_MAX);
  #readLeft = 0;
  #readSince = -1;
  readonly #slots: (Gatherer | undefined)[] = new Array(GATHER_SLOTS).fill(undefined);
  readonly #freeSlots: number[] = Array.from({ length: GATHER_SLOTS }, (_, i) => i);
  #readers: Reader[] = [];
  #running: Reader[] = [];
  /** Those that had their turn in this round, and want another: behind those that had none. */
  readonly #again: Reader[] = [];
  #isReading = false;
  readonly #retries: Retrier[] = [];
  readonly #retryTimer: RetryTimer;

  constructor(loop: Loop) {
    this.loop = loop;
    this.#retryTimer = new RetryTimer(() => this.#retry());
  }

  /** A slot of the gathering memory for the rest of the round; NO_SLOT: all are taken. */
  takeSlot(gatherer: Gatherer): number {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return NO_SLOT;
    this.#slots[slot] = gatherer;
    this.loop.post(this);
    return slot;
  }

  giveSlot(slot: number): void {
    this.#slots[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  /** Bytes that may be read now: first come first served as sockets become ready. */
  get readLeft(): number {
    if (this.#readSince !== this.loop.now) {
      this.#readSince = this.loop.now;
      this.#readLeft = READ_ALL_BYTES;
    }
    return this.#readLeft;
  }

  hasRead(bytes: number): void {
    this.#readLeft -= bytes;
    this.counters.bytesDown += bytes;
  }

  /** Bytes that an end may have to keep a copy of: no more should be read for it. */
  holdable({ asker, user = "" }: Holder): number {
    if (this.held < HELD_BYTES_FREE) return READ_BYTES;
    const left = HELD_BYTES_MAX - this.held;
    if (asker === undefined) return Math.max(0, Math.min(READ_BYTES, left));
    const held = this.#holders.heldBy(asker);
    const ofGroup = user === "" ? held : Math.max(held, this.#holders.heldByGroup(user));
    const bytes = Math.max(left - ofGroup, HELD_BYTES_SURE - held);
    return bytes < HELD_BYTES_MIN ? 0 : Math.min(READ_BYTES, bytes);
  }

  hold({ asker, user = "" }: Holder, bytes: number): void {
    this.held += bytes;
    if (asker !== undefined) this.#holders.take(asker, user, bytes);
  }

  letGo({ asker }: Holder, bytes: number): void {
    this.held -= bytes;
    if (asker !== undefined) this.#holders.give(asker, bytes);
  }

  /** Reads of it go on at the end of the round. */
  readLater(reader: Reader): void {
    const hadTurn = this.#isReading && this.#readLeft > 0;
    (hadTurn ? this.#again : this.#readers).push(reader);
    this.loop.post(this);
  }

  /** Nobody may ever say that there is memory again: it is tried. */
  retryLater(retrier: Retrier): void {
    this.#retries.push(retrier);
    if (this.#retryTimer.heapIndex === NOT_ARMED) {
      this.loop.arm(this.#retryTimer, this.loop.now + RETRY_MS);
    }
  }

  /** An error of this program has ended one connection. */
  fault(error: unknown): void {
    this.counters.faults++;
    this.loop.fault(error);
  }

  runTask(): void {
    for (let slot = 0; slot < GATHER_SLOTS; slot++) this.#slots[slot]?.flush();
    const readers = this.#readers;
    this.#readers = this.#running;
    this.#running = readers;
    // Those that wait have their own share: sockets that are ready can't use it up.
    this.#readSince = this.loop.now;
    this.#readLeft = READ_ALL_BYTES;
    this.#isReading = true;
    for (let i = 0; i < readers.length; i++) readers[i]!.readAgain();
    this.#isReading = false;
    readers.length = 0;
    for (let i = 0; i < this.#again.length; i++) this.#readers.push(this.#again[i]!);
    this.#again.length = 0;
  }

  #retry(): void {
    for (const retrier of this.#retries.splice(0, RETRIES_AT_ONCE)) retrier.retry();
    if (this.#retries.length > 0) this.loop.arm(this.#retryTimer, this.loop.now + RETRY_MS);
  }
}

class RetryTimer implements Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly fire: () => void;

  constructor(fire: () => void) {
    this.fire = fire;
  }
}

/** What was not taken of a piece: a copy, counted among what all hold. */
export class Rest {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #splicer: Splicer;
  readonly #holder: Holder;
  at = 0;

  constructor(splicer: Splicer, bytes: Uint8Array<ArrayBuffer>, holder: Holder = NOBODY) {
    this.#splicer = splicer;
    this.#holder = holder;
    this.bytes = bytes;
    splicer.hold(holder, bytes.length);
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** It is needed no more. */
  drop(): void {
    this.#splicer.letGo(this.#holder, this.bytes.length);
  }
}
