/**
 * What all workers of a server remember of HELLOs, in memory that they share: no salt is taken
 * twice, and of each handshake the frames are run once, whichever workers its copies land at.
 *
 *     head 16 words | slices 4 × (head, count, places) | buckets 16,384 × (lock, 63 places)
 *
 * A salt: a slice serves one window and is cleared for a later one. A place holds 32 bits of the
 * salt's keyed hash, the rest of which says where the search begins. Nothing leaves a slice, so two
 * workers with one salt meet at the same place. A new salt is taken for an old one once in 10^7
 * where the slice is full, and its client comes again with another.
 *
 * A handshake: client_session, client_public and user as 64 bits of keyed hash, with the worker
 * that owns it and when a HELLO last named it. A bucket has a lock, so that finding and claiming
 * are one step. A place is free again when no HELLO has named it for 90 s.
 */

import { Writer } from "../wire/cursor.ts";
import {
  HANDSHAKE_KEEP_MS,
  IDENT_BYTES,
  KEY_BYTES,
  REPLAY_BLIND_MS,
  REPLAY_SLICE_MAX,
  REPLAY_SLICES_MAX,
  SALT_BYTES,
} from "../wire/limits.ts";
import { SIP_KEY_WORDS, sipHash } from "../wire/siphash.ts";

export const SaltVerdict = {
  /** Not seen before, and recorded now. */
  fresh: 0,
  replay: 1,
  /** Its window has had all the HELLOs that there is room for. */
  full: 2,
  /** Its window is not accepted any more. */
  old: 3,
} as const;
export type SaltVerdict = typeof SaltVerdict[keyof typeof SaltVerdict];

export const HandshakeClaim = {
  /** Nobody had it: this worker's from now on. */
  isNew: 0,
  /** This worker's already. */
  known: 1,
  /** The worker `owner` has it. */
  another: 2,
  /** It was had before the restart: this worker's from now on, but its frames may have run. */
  beforeRestart: 3,
  noRoom: 4,
  /** Another thread lost its core in the midst of a claim: to be asked again. */
  busy: 5,
} as const;
export type HandshakeClaim = typeof HandshakeClaim[keyof typeof HandshakeClaim];

const MEMORY_WORDS = 7 << 20;
const HEAD_WORDS = 16;
/** In the head: the SipHash key, and until when nothing can be told (seconds of the boot clock). */
const BLIND_AT = SIP_KEY_WORDS;

const SLICE_WORDS = (1 << 20) - HEAD_WORDS / REPLAY_SLICES_MAX;
const SLICE_HEAD_WORDS = 2;
const COUNT = 1;
export const SLICE_PLACES = SLICE_WORDS - SLICE_HEAD_WORDS;
/** A slice's head: how often time has begun anew, modulo 8, and the window. */
const WINDOW_BITS = 28;
const UNUSED = 0;
const BEGINNINGS = 8;
/** In place of a head: somebody clears the slice. */
const CLEARING = -1;
const CLEARING_WAIT_MS = 1;

const BUCKETS_AT = HEAD_WORDS + REPLAY_SLICES_MAX * SLICE_WORDS;
const BUCKET_WORDS = 192;
const BUCKETS = (MEMORY_WORDS - BUCKETS_AT) / BUCKET_WORDS;
const BUCKET_SHIFT = 32 - Math.log2(BUCKETS);
const BUCKET_PLACES = 63;
// In a bucket: its lock, then the places' hashes, and who owns them since when.
const LOW = 1;
const HIGH = LOW + BUCKET_PLACES;
const HELD = HIGH + BUCKET_PLACES;
export const HANDSHAKES_MAX = BUCKETS * BUCKET_PLACES;

/** A place's owner in 8 bits, and seconds of the boot clock in 24. 0: free. */
const SECONDS_BITS = 24;
const SECONDS_MASK = (1 << SECONDS_BITS) - 1;
const KEEP_S = HANDSHAKE_KEEP_MS / 1000;
/** A thread's clock may be so far ahead of another's. */
const AHEAD_S = 10;
/** In place of a worker: the server of before. */
export const FORMER_OWNER = 255;

const UNLOCKED = 0;
const LOCKED = 1;
const WAITED_FOR = 2;
const LOCK_SPINS = 64;
/** A thread that lost its core while it held a lock has it again after a few of these. */
const LOCK_WAITS = 10;
const LOCK_WAIT_MS = 1;

const SESSION_BYTES = 6;
/** What tells a handshake from all others. */
export const HANDSHAKE_NAME_BYTES = SESSION_BYTES + KEY_BYTES + IDENT_BYTES;
// One thread, no re-entry.
const writer = new Writer();

/** Memory for all workers of a server; `random` gives whole numbers of 32 bits. */
export function replayMemory(random: () => number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4 * MEMORY_WORDS);
  const words = new Int32Array(memory);
  for (let i = 0; i < SIP_KEY_WORDS; i++) words[i] = random();
  return memory;
}

/** Writes client_session, client_public and user id, one behind the other. */
export function writeHandshakeName(
  name: Uint8Array,
  clientSession: number,
  clientPublic: Uint8Array,
  userId: Uint8Array,
): void {
  writer.reset(name, 0, HANDSHAKE_NAME_BYTES);
  writer.u48(clientSession);
  writer.copy(clientPublic, 0, KEY_BYTES);
  writer.copy(userId, 0, IDENT_BYTES);
}

/** A worker's end. */
export class ReplayMemory {
  /** How often what happened, at this worker. */
  readonly counts = { fresh: 0, replays: 0, full: 0, old: 0, noRoom: 0, busy: 0 };
  /** Of the last handshake that another one has. */
  owner = -1;
  readonly #words: Int32Array;
  readonly #key: Uint32Array;
  readonly #worker: number;
  readonly #hash = new Uint32Array(2);
  readonly #name = new Uint8Array(HANDSHAKE_NAME_BYTES);
  /** Where the last claim is, in words. */
  #bucket = -1;
  #place = -1;

  constructor(memory: SharedArrayBuffer, worker: number) {
    this.#words = new Int32Array(memory);
    this.#key = Uint32Array.from(new Uint32Array(memory, 0, SIP_KEY_WORDS));
    this.#worker = worker;
  }

  /** Whether "fresh" means that it was never seen: not so in the first 90 s without a record. */
  canTell(bootMs: number): boolean {
    return bootMs >= Atomics.load(this.#words, BLIND_AT) * 1000;
  }

  /**
   * Records the salt at `at` of a HELLO that opened. `beginning`: how often time has begun anew.
   */
  claimSalt(beginning: number, window: number, bytes: Uint8Array, at: number): SaltVerdict {
    const { counts } = this;
    const slice = this.#enter(beginning, window);
    if (slice < 0) {
      counts.old++;
      return SaltVerdict.old;
    }
    // Counted first: not one too many gets in, and no slice with a salt in it counts none.
    if (Atomics.add(this.#words, slice + COUNT, 1) >= REPLAY_SLICE_MAX) {
      Atomics.sub(this.#words, slice + COUNT, 1);
      counts.full++;
      return SaltVerdict.full;
    }
    if (this.#put(slice + SLICE_HEAD_WORDS, bytes, at)) {
      counts.fresh++;
      return SaltVerdict.fresh;
    }
    Atomics.sub(this.#words, slice + COUNT, 1);
    counts.replays++;
    return SaltVerdict.replay;
  }

  /** Claims the handshake of a HELLO that opened, for this worker. */
  claimHandshake(
    clientSession: number,
    clientPublic: Uint8Array,
    userId: Uint8Array,
    bootMs: number,
  ): HandshakeClaim {
    writeHandshakeName(this.#name, clientSession, clientPublic, userId);
    return this.claimNamed(this.#name, bootMs);
  }

  /** The same by what writeHandshakeName() wrote. */
  claimNamed(name: Uint8Array, bootMs: number): HandshakeClaim {
    sipHash(this.#key, 0, name, 0, HANDSHAKE_NAME_BYTES, this.#hash);
    const low = this.#hash[0]! | 0;
    const high = this.#hash[1]! | 0;
    const bucket = this.#bucket = bucketOf(high);
    this.#place = -1;
    if (!this.#lock(bucket)) {
      this.counts.busy++;
      return HandshakeClaim.busy;
    }
    const place = this.#find(bucket, low, high, Math.floor(bootMs / 1000));
    const claim = place < 0 ? this.#noRoom() : this.#take(bucket + place, low, high, bootMs);
    this.#unlock(bucket);
    return claim;
  }

  /** Gives up the last claim, which was new: nothing of it has run. */
  forgetHandshake(): void {
    if (this.#place < 0 || !this.#lock(this.#bucket)) return;
    this.#words[this.#place + HELD] = 0;
    this.#unlock(this.#bucket);
    this.#place = -1;
  }

  #noRoom(): HandshakeClaim {
    this.counts.noRoom++;
    return HandshakeClaim.noRoom;
  }

  /** Where the window's slice begins; -1: it serves a later one by now. */
  #enter(beginning: number, window: number): number {
    const words = this.#words;
    const head = headOf(beginning, window);
    const slice = sliceOf(window);
    for (;;) {
      const there = Atomics.load(words, slice);
      if (there === head) return slice;
      if (there === CLEARING) {
        // A few hundred microseconds, every half minute.
        Atomics.wait(words, slice, CLEARING, CLEARING_WAIT_MS);
        continue;
      }
      if (there !== UNUSED && !isLater(head, there)) return -1;
      if (Atomics.compareExchange(words, slice, there, CLEARING) !== there) continue;
      // What nobody has used stays memory that is not there.
      if (Atomics.exchange(words, slice + COUNT, 0) > 0) {
        words.fill(0, slice + SLICE_HEAD_WORDS, slice + SLICE_WORDS);
      }
      Atomics.store(words, slice, head);
      Atomics.notify(words, slice);
    }
  }

  /** Whether the salt had no place yet, and has one now. There always is a free one. */
  #put(places: number, bytes: Uint8Array, at: number): boolean {
    const words = this.#words;
    sipHash(this.#key, 0, bytes, at, SALT_BYTES, this.#hash);
    const mark = this.#hash[0]! | 0 || 1;
    let place = this.#hash[1]! % SLICE_PLACES;
    for (;;) {
      const there = Atomics.load(words, places + place) ||
        Atomics.compareExchange(words, places + place, 0, mark);
      if (there === 0) return true;
      if (there === mark) return false;
      place = place + 1 === SLICE_PLACES ? 0 : place + 1;
    }
  }

  /** The place of this hash; else a free one; else -1. To be locked. */
  #find(bucket: number, low: number, high: number, seconds: number): number {
    const words = this.#words;
    let free = -1;
    for (let place = 0; place < BUCKET_PLACES; place++) {
      const at = bucket + place;
      const isIt = words[at + LOW] === low && words[at + HIGH] === high;
      if (!isIt && free >= 0) continue;
      const isFree = !isHeld(words[at + HELD]!, seconds);
      if (isIt && !isFree) return place;
      if (isFree && free < 0) free = place;
    }
    if (free >= 0) words[bucket + free + HELD] = 0;
    return free;
  }

  /** To be locked. */
  #take(at: number, low: number, high: number, bootMs: number): HandshakeClaim {
    const words = this.#words;
    const seconds = Math.floor(bootMs / 1000);
    const owner = words[at + HELD]! >>> SECONDS_BITS;
    const isFree = words[at + HELD] === 0;
    if (isFree) {
      words[at + LOW] = low;
      words[at + HIGH] = high;
      this.#place = at;
    }
    const isOurs = isFree || owner === FORMER_OWNER || owner === this.#worker;
    words[at + HELD] = heldSince(isOurs ? this.#worker : owner, seconds);
    this.owner = isOurs ? this.#worker : owner;
    if (isFree) return HandshakeClaim.isNew;
    if (owner === FORMER_OWNER) return HandshakeClaim.beforeRestart;
    return isOurs ? HandshakeClaim.known : HandshakeClaim.another;
  }

  #lock(bucket: number): boolean {
    const words = this.#words;
    for (let i = 0; i < LOCK_SPINS; i++) {
      if (Atomics.compareExchange(words, bucket, UNLOCKED, LOCKED) === UNLOCKED) return true;
    }
    for (let i = 0; i < LOCK_WAITS; i++) {
      if (Atomics.exchange(words, bucket, WAITED_FOR) === UNLOCKED) return true;
      Atomics.wait(words, bucket, WAITED_FOR, LOCK_WAIT_MS);
    }
    return false;
  }

  #unlock(bucket: number): void {
    if (Atomics.exchange(this.#words, bucket, UNLOCKED) !== WAITED_FOR) return;
    Atomics.notify(this.#words, bucket, 1);
  }
}

// ---- what the record of a clean stop is made of; by main, while no worker runs ----

/** A slice's salts, as they lie. */
export interface SaltSlice {
  readonly window: number;
  readonly count: number;
  /** By place; 0: none. */
  readonly marks: Int32Array;
}

/** A handshake by its hash, and how long ago a HELLO named it. */
export interface HeldHandshake {
  readonly low: number;
  readonly high: number;
  readonly ageS: number;
}

/** Memory as main sees it: before the workers start and after they have stopped. */
export class RestingMemory {
  readonly #memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#memory = memory;
    this.#words = new Int32Array(memory);
  }

  /** The SipHash key. */
  get key(): Int32Array {
    return new Int32Array(this.#memory, 0, SIP_KEY_WORDS);
  }

  /** How long nothing can be told yet. */
  blindMs(bootMs: number): number {
    return Math.max(0, Atomics.load(this.#words, BLIND_AT) * 1000 - bootMs);
  }

  blindFor(ms: number, bootMs: number): void {
    Atomics.store(this.#words, BLIND_AT, ms > 0 ? Math.ceil((bootMs + ms) / 1000) : 0);
  }

  /**
   * Forgets all salts, and tells nothing for so long as one from before could come again. Workers
   * may run: what they still bring of an earlier beginning gives way to what is of this one.
   */
  startOver(bootMs: number): void {
    this.blindFor(REPLAY_BLIND_MS, bootMs);
    for (let i = 0; i < REPLAY_SLICES_MAX; i++) Atomics.store(this.#words, sliceOf(i), UNUSED);
  }

  /** Of windows from `oldest` on. */
  slices(oldest: number): SaltSlice[] {
    return Array.from({ length: REPLAY_SLICES_MAX }, (_, i) => this.#slice(i))
      .filter(({ window }) => window >= oldest);
  }

  /** Takes a slice in, for a server whose time has not begun anew yet; its places, to be filled. */
  adoptSlice(window: number, count: number): Int32Array {
    const from = sliceOf(window);
    this.#words[from] = headOf(0, window);
    this.#words[from + COUNT] = count;
    return this.#marks(from);
  }

  /** All handshakes that are held. */
  handshakes(bootMs: number): HeldHandshake[] {
    const words = this.#words;
    const seconds = Math.floor(bootMs / 1000);
    const all: HeldHandshake[] = [];
    for (let bucket = BUCKETS_AT; bucket < MEMORY_WORDS; bucket += BUCKET_WORDS) {
      for (let at = bucket; at < bucket + BUCKET_PLACES; at++) {
        const held = words[at + HELD]!;
        if (!isHeld(held, seconds)) continue;
        const ageS = Math.max(0, ageOf(held, seconds));
        all.push({ low: words[at + LOW]! >>> 0, high: words[at + HIGH]! >>> 0, ageS });
      }
    }
    return all;
  }

  /** Takes in a handshake of the server of before; it has a place, since it had one there. */
  adoptHandshake({ low, high, ageS }: HeldHandshake, bootMs: number): void {
    const words = this.#words;
    const seconds = Math.floor(bootMs / 1000) - ageS;
    const bucket = bucketOf(high);
    for (let at = bucket; at < bucket + BUCKET_PLACES; at++) {
      if (words[at + HELD] !== 0) continue;
      words[at + LOW] = low;
      words[at + HIGH] = high;
      words[at + HELD] = heldSince(FORMER_OWNER, seconds);
      return;
    }
  }

  #slice(index: number): SaltSlice {
    const from = sliceOf(index);
    const window = this.#words[from]! & (1 << WINDOW_BITS) - 1;
    const marks = this.#marks(from);
    let count = 0;
    // None where the slice's own count says so: then its memory is not even there.
    const isUsed = this.#words[from + COUNT]! > 0;
    for (let i = 0; isUsed && i < SLICE_PLACES; i++) if (marks[i] !== 0) count++;
    return { window, count, marks };
  }

  #marks(slice: number): Int32Array {
    return this.#words.subarray(slice + SLICE_HEAD_WORDS, slice + SLICE_WORDS);
  }
}

function sliceOf(window: number): number {
  return HEAD_WORDS + window % REPLAY_SLICES_MAX * SLICE_WORDS;
}

function headOf(beginning: number, window: number): number {
  return beginning % BEGINNINGS << WINDOW_BITS | window;
}

/** Whether one head is of a later window, or of a later beginning of time, than another. */
function isLater(head: number, there: number): boolean {
  const beginnings = (head >>> WINDOW_BITS) - (there >>> WINDOW_BITS) & BEGINNINGS - 1;
  return beginnings === 0 ? head > there : beginnings < BEGINNINGS / 2;
}

function bucketOf(high: number): number {
  return BUCKETS_AT + (high >>> BUCKET_SHIFT) * BUCKET_WORDS;
}

function heldSince(owner: number, seconds: number): number {
  return owner << SECONDS_BITS | seconds & SECONDS_MASK || 1;
}

/** Less than 0 where another thread's clock is a moment ahead. */
function ageOf(held: number, seconds: number): number {
  return (seconds - held) << 32 - SECONDS_BITS >> 32 - SECONDS_BITS;
}

function isHeld(held: number, seconds: number): boolean {
  const age = ageOf(held, seconds);
  return held !== 0 && age <= KEEP_S && age >= -AHEAD_S;
}
