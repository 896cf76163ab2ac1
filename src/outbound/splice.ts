/**
 * A target's TCP socket and its stream, tied together: bytes both ways, each end's half-close and
 * reset told to the other, and neither side read faster than the other takes.
 *
 * Towards the socket small pieces are gathered in shared memory until the end of the round, so that
 * one write carries what dozens of packets brought. Towards the session a socket is read into
 * memory that all share, at most a bounded piece a round, and never more than the stream has room
 * for. Epoll is asked once, edge-triggered; what may be read or written is remembered here.
 */

import { errnoNumber } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import { copyBytes } from "../base/copy.ts";
import { type Loop, NOT_ARMED, type Task, type Timer, type Watcher } from "../loop/loop.ts";

/** What is asked of the session of a stream. */
export type StreamSession = Pick<
  Session,
  "write" | "room" | "finish" | "reset" | "resume"
>;

/** Has a session's packets sent; ServerTunnel. */
export interface Waker<S> {
  wake(session: S): void;
}

/** Who is told that a splice is over: both halves ended, or it failed. */
export interface SpliceOwner {
  spliceClosed(splice: Splice): void;
}

/** Bytes read from one socket at a time, and in one round. */
export const READ_BYTES = 128 << 10;
const READ_ROUND_BYTES = 256 << 10;
/** Bytes read of all sockets before packets get their turn again. */
const READ_ALL_BYTES = 2 << 20;
/** Memory where pieces towards one socket gather during a round, and how many sockets have one. */
export const GATHER_BYTES = 64 << 10;
const GATHER_SLOTS = 32;
/** A piece of this length is worth a write of its own. */
const DIRECT_BYTES = 16 << 10;
/** What all splices may hold in copies, each way: pieces that socket or session did not take. */
export const HELD_BYTES_MAX = 32 << 20;
/** When to offer a session again what it had no memory for. */
const RETRY_MS = 20;

const NO_SLOT = -1;
const NOTHING = new Uint8Array(0);
const TIMED_OUT = -(errnoNumber("ETIMEDOUT") ?? 0);

/** Everything that may happen to a socket, told once for each change. */
const WATCHED = EpollEvent.in | EpollEvent.out | EpollEvent.readHangUp | EpollEvent.edgeTriggered;
const READ_EVENTS = EpollEvent.in | EpollEvent.readHangUp | EpollEvent.hangUp | EpollEvent.error;
const END_EVENTS = EpollEvent.readHangUp | EpollEvent.hangUp | EpollEvent.error;
const WRITE_EVENTS = EpollEvent.out | EpollEvent.hangUp | EpollEvent.error;

/** Counted since the start. */
export class SpliceCounters {
  bytesUp = 0;
  bytesDown = 0;
  /** A copy was not made since all together held too much. */
  heldFull = 0;
  /** Exceptions that ended a splice: none is expected. */
  faults = 0;
}

/** What all splices of a worker share: memory, and the work of the end of a round. */
export class Splicer implements Task {
  isPosted = false;
  readonly counters: SpliceCounters = new SpliceCounters();
  readonly loop: Loop;
  readonly waker: Waker<StreamSession>;
  readonly readArena: Uint8Array<ArrayBuffer> = new Uint8Array(READ_BYTES);
  readonly gatherArena: Uint8Array<ArrayBuffer> = new Uint8Array(GATHER_SLOTS * GATHER_BYTES);
  /** Bytes in copies of all splices. */
  held = 0;
  #readLeft = 0;
  #readSince = -1;
  readonly #slots: (Splice | undefined)[] = new Array(GATHER_SLOTS).fill(undefined);
  readonly #freeSlots: number[] = Array.from({ length: GATHER_SLOTS }, (_, i) => i);
  #readers: Splice[] = [];
  #running: Splice[] = [];
  readonly #retries: Splice[] = [];
  readonly #retryTimer: RetryTimer;

  constructor(loop: Loop, waker: Waker<StreamSession>) {
    this.loop = loop;
    this.waker = waker;
    this.#retryTimer = new RetryTimer(() => this.#retry());
  }

  /** A slot of the gathering memory for the rest of the round; NO_SLOT: all are taken. */
  takeSlot(splice: Splice): number {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return NO_SLOT;
    this.#slots[slot] = splice;
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

  /** Reads of it go on at the end of the round. */
  readLater(splice: Splice): void {
    this.#readers.push(splice);
    this.loop.post(this);
  }

  /** Its session had no memory and may never say that it has: it is asked. */
  retryLater(splice: Splice): void {
    this.#retries.push(splice);
    if (this.#retryTimer.heapIndex === NOT_ARMED) {
      this.loop.arm(this.#retryTimer, this.loop.now + RETRY_MS);
    }
  }

  runTask(): void {
    for (let slot = 0; slot < GATHER_SLOTS; slot++) this.#slots[slot]?.flush();
    const readers = this.#readers;
    this.#readers = this.#running;
    this.#running = readers;
    // Those that wait have their own share: sockets that are ready can't use it up.
    this.#readSince = this.loop.now;
    this.#readLeft = READ_ALL_BYTES;
    for (let i = 0; i < readers.length; i++) readers[i]!.readAgain();
    readers.length = 0;
  }

  #retry(): void {
    for (const splice of this.#retries.splice(0)) splice.retry();
  }
}

class RetryTimer implements Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly fire: () => void;

  constructor(fire: () => void) {
    this.fire = fire;
  }
}

/** One connected socket and its stream. */
export class Splice implements Watcher {
  readonly #shared: Splicer;
  readonly #owner: SpliceOwner;
  readonly #session: StreamSession;
  readonly #id: number;
  readonly #socket: TcpSocket;
  readonly #fd: number;
  #tag = -1;
  #isClosed = false;
  // Towards the socket.
  #isBlocked = false;
  #slot = NO_SLOT;
  #slotLength = 0;
  /** What a short write left. */
  #down: Uint8Array<ArrayBuffer> = NOTHING;
  #downAt = 0;
  #downEnds = false;
  #downEnded = false;
  // Towards the session.
  #canRead = false;
  /** The socket told of its end: it is read until that comes. */
  #endSeen = false;
  #isFull = false;
  #isReader = false;
  #retries = false;
  /** What was read and the session did not take. */
  #up: Uint8Array<ArrayBuffer> = NOTHING;
  #upAt = 0;
  #upEnded = false;

  /** `early`: bytes that were read from the socket before, the stream's first. */
  constructor(
    shared: Splicer,
    owner: SpliceOwner,
    session: StreamSession,
    id: number,
    socket: TcpSocket,
    early: Uint8Array<ArrayBuffer> = NOTHING,
  ) {
    this.#shared = shared;
    this.#owner = owner;
    this.#session = session;
    this.#id = id;
    this.#socket = socket;
    this.#fd = socket.fd;
    if (early.length === 0) return;
    this.#up = early;
    shared.held += early.length;
  }

  /**
   * Begins; may throw when the socket can't be watched. `upEnded`: the socket's end was read
   * before, and the stream was told.
   */
  start(upEnded = false): void {
    this.#upEnded = upEnded;
    this.#tag = this.#shared.loop.watch(this.#fd, WATCHED, this);
    if (this.#up.length > 0) this.retry();
  }

  /** Data of the stream; how much was taken. After less than `length` the session is resumed. */
  data(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.#isBlocked || this.#isClosed || length === 0) return 0;
    if (this.#slot === NO_SLOT) {
      if (length >= DIRECT_BYTES) return this.#write(bytes, at, length);
      // What gathers counts as taken before the socket has it: not where copies add up.
      if (this.#shared.held >= HELD_BYTES_MAX) {
        this.#shared.counters.heldFull++;
        return this.#write(bytes, at, length);
      }
      this.#slot = this.#shared.takeSlot(this);
      if (this.#slot === NO_SLOT) return this.#write(bytes, at, length);
    } else if (this.#slotLength + length > GATHER_BYTES) {
      this.flush();
      return this.data(bytes, at, length);
    }
    const to = this.#slot * GATHER_BYTES + this.#slotLength;
    copyBytes(this.#shared.gatherArena, to, bytes, at, length);
    this.#slotLength += length;
    return length;
  }

  /** Writes what has gathered. */
  flush(): void {
    const slot = this.#slot;
    if (slot === NO_SLOT) return;
    const { gatherArena } = this.#shared;
    const at = slot * GATHER_BYTES;
    const length = this.#slotLength;
    this.#slot = NO_SLOT;
    this.#slotLength = 0;
    this.#shared.giveSlot(slot);
    const taken = this.#write(gatherArena, at, length);
    if (taken === length || this.#isClosed) return;
    this.#down = gatherArena.slice(at + taken, at + length);
    this.#downAt = 0;
    this.#shared.held += this.#down.length;
  }

  /** The stream has ended: so does the socket's writing, after what waits for it. */
  end(): void {
    if (this.#isClosed) return;
    this.flush();
    this.#downEnds = true;
    this.#finishDown();
  }

  /** The stream was reset, or its session is over. */
  abort(): void {
    this.#release();
    this.#socket.abort();
  }

  /** The session has room again. Only noted: this comes amidst a packet's frames. */
  writable(): void {
    if (!this.#isFull || this.#isClosed) return;
    this.#isFull = false;
    this.#readLater();
  }

  /** Goes on reading at the end of a round. */
  readAgain(): void {
    this.#isReader = false;
    if (this.#isClosed) return;
    try {
      this.#pump();
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Offers the session again what it did not take. */
  retry(): void {
    this.#retries = false;
    this.#isFull = false;
    this.readAgain();
  }

  ready(events: number): void {
    if (this.#isClosed) return;
    try {
      if (this.#isBlocked && (events & WRITE_EVENTS) !== 0) this.#unblock();
      if (this.#isClosed || (events & READ_EVENTS) === 0) return;
      // There is nothing to read any more: only a reset is news.
      if (this.#upEnded) return (events & EpollEvent.error) === 0 ? undefined : this.#giveUp();
      this.#canRead = true;
      if ((events & END_EVENTS) !== 0) this.#endSeen = true;
      if (!this.#isFull && !this.#isReader) this.#pump();
    } catch (error) {
      this.#fault(error);
    }
  }

  // ---- towards the socket ----

  /** What the socket took; less than `length`: it is blocked, or closed. */
  #write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    const taken = this.#socket.write(bytes, at, length);
    if (taken === length) {
      this.#shared.counters.bytesUp += taken;
      return taken;
    }
    if (taken < 0 && taken !== tcpAgain) {
      this.#fail(taken);
      return 0;
    }
    this.#isBlocked = true;
    if (taken <= 0) return 0;
    this.#shared.counters.bytesUp += taken;
    return taken;
  }

  /** The socket takes bytes again: first those that it has left, then the session's. */
  #unblock(): void {
    this.#isBlocked = false;
    const left = this.#down.length - this.#downAt;
    if (left > 0) {
      const taken = this.#write(this.#down, this.#downAt, left);
      if (this.#isClosed) return;
      this.#downAt += taken;
      if (taken < left) return;
      this.#dropDown();
    }
    if (this.#downEnds) return this.#finishDown();
    this.#session.resume(this.#id);
    this.#shared.waker.wake(this.#session);
  }

  #finishDown(): void {
    if (!this.#downEnds || this.#downEnded || this.#down.length > 0 || this.#isClosed) return;
    this.#downEnded = true;
    const result = this.#socket.finish();
    if (result < 0) return this.#fail(result);
    this.#closeIfOver();
  }

  // ---- towards the session ----

  #readLater(): void {
    if (this.#isReader) return;
    this.#isReader = true;
    this.#shared.readLater(this);
  }

  /** Reads the socket as long as it gives, the session takes, and it is its turn. */
  #pump(): void {
    const { readArena, waker } = this.#shared;
    const session = this.#session;
    let left = Math.min(READ_ROUND_BYTES, this.#shared.readLeft);
    let moved = this.#up.length > 0 && this.#offerUp();
    while (this.#canRead && !this.#isFull && left > 0) {
      const room = this.#roomToRead(left);
      if (room === 0) break;
      const count = this.#socket.read(readArena, 0, room);
      if (count <= 0) {
        this.#readStopped(count);
        break;
      }
      left -= count;
      moved = true;
      this.#shared.hasRead(count);
      const taken = session.write(this.#id, readArena, 0, count);
      if (taken < count) this.#keepUp(readArena.slice(taken, count));
      // All that there was, unless the end waits behind it.
      else if (count < room && !this.#endSeen) this.#canRead = false;
    }
    if (this.#isClosed) return;
    if (this.#canRead && !this.#isFull) this.#readLater();
    if (moved) waker.wake(session);
  }

  /** Bytes to ask the socket for; 0: the session has to make room first. */
  #roomToRead(left: number): number {
    const room = Math.min(this.#session.room(this.#id), READ_BYTES, left);
    if (room > 0) {
      if (this.#shared.held < HELD_BYTES_MAX) return room;
      this.#shared.counters.heldFull++;
      this.#retryLater();
      return 0;
    }
    this.#isFull = true;
    // Takes nothing, and has the session tell when there is room.
    this.#session.write(this.#id, this.#shared.readArena, 0, 1);
    return 0;
  }

  /** A read gave nothing: not now, never again, or an error. */
  #readStopped(result: number): void {
    this.#canRead = false;
    if (result === tcpAgain) {
      // The edge told of an end that did not come yet: the next one tells again.
      this.#endSeen = false;
      return;
    }
    if (result < 0) return this.#fail(result);
    this.#upEnded = true;
    this.#session.finish(this.#id);
    this.#shared.waker.wake(this.#session);
    this.#closeIfOver();
  }

  #keepUp(rest: Uint8Array<ArrayBuffer>): void {
    this.#up = rest;
    this.#upAt = 0;
    this.#shared.held += rest.length;
    this.#retryLater();
  }

  /** Whether the session took anything of what it had left. */
  #offerUp(): boolean {
    const left = this.#up.length - this.#upAt;
    const taken = this.#session.write(this.#id, this.#up, this.#upAt, left);
    this.#upAt += taken;
    if (taken < left) this.#retryLater();
    else this.#dropUp();
    return taken > 0;
  }

  #retryLater(): void {
    this.#isFull = true;
    if (this.#retries) return;
    this.#retries = true;
    this.#shared.retryLater(this);
  }

  // ---- the end ----

  #closeIfOver(): void {
    if (!this.#upEnded || !this.#downEnded || this.#isClosed) return;
    this.#release();
    this.#socket.close();
    this.#owner.spliceClosed(this);
  }

  #fail(result: number): void {
    this.#giveUp(result === TIMED_OUT ? RstCode.timedOut : RstCode.targetReset);
  }

  #fault(error: unknown): void {
    this.#shared.counters.faults++;
    this.#shared.loop.fault(error);
    if (!this.#isClosed) this.#giveUp(RstCode.internal);
  }

  #giveUp(code: number = RstCode.targetReset): void {
    this.abort();
    this.#session.reset(this.#id, code);
    this.#shared.waker.wake(this.#session);
    this.#owner.spliceClosed(this);
  }

  #release(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#slot !== NO_SLOT) this.#shared.giveSlot(this.#slot);
    this.#slot = NO_SLOT;
    this.#dropDown();
    this.#dropUp();
    if (this.#tag >= 0) this.#shared.loop.unwatch(this.#tag, this.#fd);
  }

  #dropDown(): void {
    this.#shared.held -= this.#down.length;
    this.#down = NOTHING;
    this.#downAt = 0;
  }

  #dropUp(): void {
    this.#shared.held -= this.#up.length;
    this.#up = NOTHING;
    this.#upAt = 0;
  }
}
