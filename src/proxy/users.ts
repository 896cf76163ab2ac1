/**
 * What a user may use, and what each has used, over all threads: the counters stand in shared
 * memory, one slot a user.
 *
 *     up u64 | down u64 | connections i32 | threads that carry traffic of theirs u32, u32 |
 *     sessions i32
 */

const SLOT_BYTES = 32;
const WORDS = SLOT_BYTES / 4;
const LONGS = SLOT_BYTES / 8;
const UP = 0;
const DOWN = 1;
const CONNECTIONS = 4;
const CARRIERS = 5;
const CARRIER_WORDS = 2;
const SESSIONS = 7;
const WORD_BITS = 32;

/** So far beyond their traffic a user may get, by bytes or by share, and no further. */
const TRAFFIC_OVER_MIN = 4 << 20;
const TRAFFIC_OVER = 0.02;
/** Of what is left for one thread; there may be so many, each in its last piece. */
const PIECES = 16;

/** A limit that does not exist. */
const UNLIMITED = 0;

export interface UserLimits {
  /** Sessions at a time: devices; 0 is no limit. */
  readonly sessionsMax?: number;
  /** Streams and UDP associations at a time; 0 is no limit. */
  readonly connectionsMax?: number;
  /** Bytes, up and down together, in all; 0 is no limit. */
  readonly trafficMax?: number;
  /** Milliseconds since 1970; 0 is never. */
  readonly expiresAtMs?: number;
}

/** Why a user is let in or not. */
export type Admission =
  | "ok"
  | "expired"
  | "traffic-used-up"
  | "too-many-sessions"
  | "too-many-connections";

/** Shared memory for so many users. */
export function accountMemory(users: number): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOT_BYTES * users);
}

/** What a user has used by the shared memory. */
export interface Usage {
  readonly upBytes: number;
  readonly downBytes: number;
  readonly connections: number;
  readonly sessions: number;
}

export function usageOf(memory: SharedArrayBuffer, slot: number): Usage {
  const longs = new BigInt64Array(memory, slot * SLOT_BYTES, LONGS);
  const words = new Int32Array(memory, slot * SLOT_BYTES, WORDS);
  return {
    upBytes: Number(Atomics.load(longs, UP)),
    downBytes: Number(Atomics.load(longs, DOWN)),
    connections: Atomics.load(words, CONNECTIONS),
    sessions: Atomics.load(words, SESSIONS),
  };
}

/** Makes a slot another user's, who has used so much before. */
export function resetUsage(memory: SharedArrayBuffer, slot: number, usage: Usage): void {
  const longs = new BigInt64Array(memory, slot * SLOT_BYTES, LONGS);
  Atomics.store(longs, UP, BigInt(usage.upBytes));
  Atomics.store(longs, DOWN, BigInt(usage.downBytes));
  const words = new Int32Array(memory, slot * SLOT_BYTES, WORDS);
  Atomics.store(words, CONNECTIONS, usage.connections);
  Atomics.store(words, SESSIONS, usage.sessions);
  for (let i = 0; i < CARRIER_WORDS; i++) Atomics.store(words, CARRIERS + i, 0);
}

/** A user's account as one thread sees it. */
export class UserAccount {
  limits: UserLimits = {};
  /** Bytes that this thread has not told the others yet; packets add to them. */
  up = 0;
  down = 0;
  /** What this thread may use before it has to ask again; Infinity where nothing is limited. */
  allowance = Infinity;
  /** To be set: is called when that is used up; then there is none before `allow`. */
  spent: () => void = () => {};
  /** Admissions refused here, by any reason. */
  refused = 0;
  readonly #longs: BigInt64Array;
  readonly #words: Int32Array;
  readonly #carrierWord: number;
  readonly #carrierBit: number;
  #isCarrier = false;
  /** Told since the last `publish`. */
  #told = 0;

  constructor(memory: SharedArrayBuffer = accountMemory(1), slot = 0, thread = 0) {
    this.#longs = new BigInt64Array(memory, slot * SLOT_BYTES, LONGS);
    this.#words = new Int32Array(memory, slot * SLOT_BYTES, WORDS);
    this.#carrierWord = CARRIERS + (thread >> 5) % CARRIER_WORDS;
    this.#carrierBit = 1 << (thread & (WORD_BITS - 1));
  }

  get connections(): number {
    return Atomics.load(this.#words, CONNECTIONS);
  }

  /** Those that have begun and not ended, in all threads. */
  get sessions(): number {
    return Atomics.load(this.#words, SESSIONS);
  }

  /** Bytes from the user, in all threads. */
  get upBytes(): number {
    return Number(Atomics.load(this.#longs, UP)) + this.up;
  }

  get downBytes(): number {
    return Number(Atomics.load(this.#longs, DOWN)) + this.down;
  }

  /**
   * Whether a session may begin, which `sessionOpened` is to be told of then. Two threads that ask
   * at once may both be told yes: one more than the maximum for each of them, at the most.
   */
  admitSession(unixMs: number): Admission {
    const { sessionsMax = UNLIMITED } = this.limits;
    const admission = this.mayGoOn(unixMs);
    const isFull = sessionsMax !== UNLIMITED && this.sessions >= sessionsMax;
    return admission === "ok" && isFull ? "too-many-sessions" : admission;
  }

  sessionOpened(): void {
    Atomics.add(this.#words, SESSIONS, 1);
  }

  sessionClosed(): void {
    Atomics.sub(this.#words, SESSIONS, 1);
  }

  /** Whether a session that there is may go on. */
  mayGoOn(unixMs: number): Admission {
    const { expiresAtMs = 0, trafficMax = UNLIMITED } = this.limits;
    if (expiresAtMs > 0 && unixMs >= expiresAtMs) return "expired";
    const isUsedUp = trafficMax !== UNLIMITED && this.upBytes + this.downBytes >= trafficMax;
    return isUsedUp ? "traffic-used-up" : "ok";
  }

  /** Counts a new stream or association when it is let in; `close` takes it back. */
  open(unixMs: number): Admission {
    let admission = this.mayGoOn(unixMs);
    if (admission === "ok") {
      const { connectionsMax = UNLIMITED } = this.limits;
      // Counted first: two threads may ask at once.
      const before = Atomics.add(this.#words, CONNECTIONS, 1);
      if (connectionsMax === UNLIMITED || before < connectionsMax) return "ok";
      Atomics.sub(this.#words, CONNECTIONS, 1);
      admission = "too-many-connections";
    }
    this.refused++;
    return admission;
  }

  close(): void {
    Atomics.sub(this.#words, CONNECTIONS, 1);
  }

  /** Tells the other threads what was used here, and whether much was: more than `idleBytes`. */
  publish(idleBytes: number): void {
    this.#carry(this.#told + this.up + this.down > idleBytes);
    this.tell();
    this.#told = 0;
  }

  /** Packets have added to `up` or `down`. */
  used(): void {
    if (this.up + this.down <= this.allowance) return;
    this.allowance = Infinity;
    this.spent();
  }

  /**
   * How much this thread may use until it tells the others: near the end of the user's traffic in
   * small pieces, so that all threads together do not go far beyond it.
   */
  allow(): void {
    const { trafficMax = UNLIMITED } = this.limits;
    if (trafficMax === UNLIMITED) {
      this.allowance = Infinity;
      return;
    }
    const left = trafficMax - this.upBytes - this.downBytes;
    this.allowance = Math.max(left, TRAFFIC_OVER_MIN, trafficMax * TRAFFIC_OVER) / PIECES;
  }

  /** Tells the other threads what was used here. */
  tell(): void {
    this.#told += this.up + this.down;
    if (this.up > 0) Atomics.add(this.#longs, UP, BigInt(this.up));
    if (this.down > 0) Atomics.add(this.#longs, DOWN, BigInt(this.down));
    this.up = this.down = 0;
  }

  /** Threads that share the user's rate: those that carry traffic of theirs, and this one. */
  get sharers(): number {
    let count = this.#isCarrier ? 0 : 1;
    for (let i = 0; i < CARRIER_WORDS; i++) {
      count += bitsOf(Atomics.load(this.#words, CARRIERS + i));
    }
    return count;
  }

  #carry(isCarrier: boolean): void {
    if (isCarrier === this.#isCarrier) return;
    this.#isCarrier = isCarrier;
    if (isCarrier) Atomics.or(this.#words, this.#carrierWord, this.#carrierBit);
    else Atomics.and(this.#words, this.#carrierWord, ~this.#carrierBit);
  }
}

function bitsOf(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
