/**
 * A TCP socket as an end of a connection.
 *
 * Towards the socket small pieces are gathered in shared memory until the end of the round, so that
 * one write carries what dozens of packets brought. From the socket is read into memory that all
 * share, at most a bounded piece a round, and never more than the peer has room for. Epoll is asked
 * once, edge-triggered; what may be read or written is remembered here.
 */

import { errnoNumber } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import { copyBytes } from "../base/copy.ts";
import type { Watcher } from "../loop/loop.ts";
import { RstCode } from "../wire/frames.ts";
import type { ByteEnd } from "./byte_end.ts";
import {
  GATHER_BYTES,
  type Holder,
  NO_SLOT,
  READ_BYTES,
  READ_ROUND_BYTES,
  Rest,
  type Splicer,
} from "./splicer.ts";

/** Who is told that a socket is closed: both halves ended, or it failed and its peer was reset. */
export interface SocketEndOwner extends Holder {
  endClosed(end: SocketEnd): void;
}

/** A piece of this length is worth a write of its own. */
const DIRECT_BYTES = 16 << 10;

/** The peer of what is to be closed. */
const NOBODY: ByteEnd = {
  write: () => 0,
  room: () => 0,
  finish() {},
  reset() {},
  resume() {},
};

const NOT_WATCHED = -1;
const NOTHING = new Uint8Array(0);
const TIMED_OUT = -(errnoNumber("ETIMEDOUT") ?? 0);

/** Everything that may happen to a socket, told once for each change. */
const WATCHED = EpollEvent.in | EpollEvent.out | EpollEvent.readHangUp | EpollEvent.edgeTriggered;
const READ_EVENTS = EpollEvent.in | EpollEvent.readHangUp | EpollEvent.hangUp | EpollEvent.error;
const END_EVENTS = EpollEvent.readHangUp | EpollEvent.hangUp | EpollEvent.error;
const WRITE_EVENTS = EpollEvent.out | EpollEvent.hangUp | EpollEvent.error;

export class SocketEnd implements ByteEnd, Watcher {
  readonly #shared: Splicer;
  readonly #owner: SocketEndOwner;
  readonly #socket: TcpSocket;
  readonly #fd: number;
  #peer: ByteEnd | undefined;
  #tag = NOT_WATCHED;
  #isClosed = false;
  lastUsed: number;
  /** Bytes that the kernel held when it was looked at, where they did not move. */
  stalled = 0;
  /** Bytes that passed since then. */
  #moved = 0;
  // Towards the socket.
  #isBlocked = false;
  #slot = NO_SLOT;
  #slotLength = 0;
  /** What a short write left of what had gathered. */
  #unwritten: Rest | undefined;
  #writeEnds = false;
  #writeEnded = false;
  // From the socket.
  #canRead = false;
  /** The socket told of its end: it is read until that comes. */
  #endSeen = false;
  /** The peer takes nothing until it says so. */
  #isFull = false;
  #isReader = false;
  #retries = false;
  /** What was read and the peer did not take. */
  #unsent: Rest | undefined;
  #readEnded = false;

  /** `early`: bytes that were read from the socket before, the first for the peer. */
  constructor(
    shared: Splicer,
    owner: SocketEndOwner,
    socket: TcpSocket,
    early: Uint8Array<ArrayBuffer> = NOTHING,
  ) {
    this.#shared = shared;
    this.#owner = owner;
    this.#socket = socket;
    this.#fd = socket.fd;
    this.lastUsed = shared.loop.now;
    if (early.length > 0) this.#unsent = new Rest(shared, early, owner);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** To be called before `start`. */
  join(peer: ByteEnd): void {
    this.#peer = peer;
  }

  /**
   * Begins; may throw when the socket can't be watched. `readEnded`: the socket's end was read
   * before, and the peer was told.
   */
  start(readEnded = false): void {
    this.#readEnded = readEnded;
    this.#tag = this.#shared.loop.watch(this.#fd, WATCHED, this);
    if (this.#unsent !== undefined) this.readAgain();
  }

  /**
   * Lets go of the socket: it is watched no more, takes nothing, and everything that was read or
   * written has gone where it belongs. False: it has not, or is closed; the socket is kept then.
   */
  letGo(): boolean {
    this.flush();
    if (this.#isClosed || this.#tag === NOT_WATCHED) return false;
    if (this.#unwritten !== undefined || this.#unsent !== undefined) return false;
    this.#unwatch();
    // Until the socket is watched again, and says that it can be written to.
    this.#isBlocked = true;
    this.#canRead = this.#endSeen = false;
    return true;
  }

  /** Takes up the socket that was let go of. May throw as `start` does. */
  takeUp(): void {
    if (this.#isClosed || this.#tag !== NOT_WATCHED) return;
    this.#tag = this.#shared.loop.watch(this.#fd, WATCHED, this);
  }

  look(): number {
    const moved = this.#moved;
    this.#moved = 0;
    const held = this.#isClosed ? 0 : this.#socket.held();
    return this.stalled = held > moved ? held : 0;
  }

  // ---- what the peer asks ----

  write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.#isBlocked || this.#isClosed || length === 0) return 0;
    if (this.#slot === NO_SLOT) {
      if (length >= DIRECT_BYTES) return this.#write(bytes, at, length);
      // What gathers counts as taken before the socket has it: not where copies add up.
      if (this.#shared.holdable(this.#owner) < GATHER_BYTES) {
        this.#shared.counters.heldFull++;
        return this.#write(bytes, at, length);
      }
      this.#slot = this.#shared.takeSlot(this);
      if (this.#slot === NO_SLOT) return this.#write(bytes, at, length);
    } else if (this.#slotLength + length > GATHER_BYTES) {
      this.flush();
      return this.write(bytes, at, length);
    }
    const to = this.#slot * GATHER_BYTES + this.#slotLength;
    copyBytes(this.#shared.gatherArena, to, bytes, at, length);
    this.#slotLength += length;
    return length;
  }

  /** What a socket takes is known when it has; a peer reads so much at a time. */
  room(): number {
    return this.#isBlocked || this.#isClosed ? 0 : READ_BYTES;
  }

  /** The socket's writing ends, after what waits for it. */
  finish(): void {
    if (this.#isClosed) return;
    this.flush();
    this.#writeEnds = true;
    this.#finishWriting();
  }

  /** Its peer has gone: until it is reset nothing passes any more. */
  abandon(): void {
    this.#peer = NOBODY;
  }

  /** With a RST; the owner is not told. */
  reset(_code?: number): void {
    if (this.#isClosed) return;
    this.#release();
    this.#socket.abort();
  }

  /** Only noted: it may come amidst a packet's frames. */
  resume(): void {
    if (!this.#isFull || this.#isClosed) return;
    this.#isFull = false;
    this.#readLater();
  }

  // ---- what the loop and the splicer ask ----

  ready(events: number): void {
    if (this.#isClosed) return;
    try {
      if (this.#isBlocked && (events & WRITE_EVENTS) !== 0) this.#unblock();
      if (this.#isClosed || (events & READ_EVENTS) === 0) return;
      // There is nothing to read any more: only a reset is news.
      if (this.#readEnded) return (events & EpollEvent.error) === 0 ? undefined : this.#giveUp();
      this.#canRead = true;
      if ((events & END_EVENTS) !== 0) this.#endSeen = true;
      if (!this.#isFull && !this.#isReader) this.#pump();
    } catch (error) {
      this.#fault(error);
    }
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

  /** There may be memory for copies again. */
  retry(): void {
    this.#retries = false;
    this.resume();
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
    const rest = gatherArena.slice(at + taken, at + length);
    this.#unwritten = new Rest(this.#shared, rest, this.#owner);
  }

  // ---- towards the socket ----

  /** What the socket took; less than `length`: it is blocked, or closed. */
  #write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    const taken = this.#socket.write(bytes, at, length);
    if (taken > 0) this.#moved += taken;
    if (taken === length) {
      this.lastUsed = this.#shared.loop.now;
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

  /** The socket takes bytes again: first those that it has left, then the peer's. */
  #unblock(): void {
    this.#isBlocked = false;
    const rest = this.#unwritten;
    if (rest !== undefined) {
      const { left } = rest;
      const taken = this.#write(rest.bytes, rest.at, left);
      if (this.#isClosed) return;
      rest.at += taken;
      if (taken < left) return;
      rest.drop();
      this.#unwritten = undefined;
    }
    if (this.#writeEnds) return this.#finishWriting();
    this.#peer!.resume();
  }

  #finishWriting(): void {
    if (!this.#writeEnds || this.#writeEnded || this.#unwritten !== undefined) return;
    if (this.#isClosed) return;
    this.#writeEnded = true;
    const result = this.#socket.finish();
    if (result < 0) return this.#fail(result);
    this.#closeIfOver();
  }

  // ---- from the socket ----

  #readLater(): void {
    if (this.#isReader) return;
    this.#isReader = true;
    this.#shared.readLater(this);
  }

  /** Reads the socket as long as it gives, the peer takes, and it is its turn. */
  #pump(): void {
    const { readArena } = this.#shared;
    const peer = this.#peer!;
    let left = Math.min(READ_ROUND_BYTES, this.#shared.readLeft);
    if (this.#unsent !== undefined) this.#offer(this.#unsent, peer);
    while (this.#canRead && !this.#isFull && left > 0) {
      const room = this.#roomToRead(left);
      if (room === 0) break;
      const count = this.#socket.read(readArena, 0, room);
      if (count <= 0) {
        this.#readStopped(count);
        break;
      }
      left -= count;
      this.#moved += count;
      this.lastUsed = this.#shared.loop.now;
      this.#shared.hasRead(count);
      const taken = peer.write(readArena, 0, count);
      if (taken < count) this.#keep(readArena.slice(taken, count));
      // All that there was, unless the end waits behind it.
      else if (count < room && !this.#endSeen) this.#canRead = false;
    }
    if (this.#canRead && !this.#isFull && !this.#isClosed) this.#readLater();
  }

  /** Bytes to ask the socket for; 0: the peer has to make room first. */
  #roomToRead(left: number): number {
    const room = Math.min(this.#peer!.room(), READ_BYTES, left);
    // What the peer does not take in the end has to be kept.
    const holdable = room > 0 ? this.#shared.holdable(this.#owner) : 0;
    if (holdable > 0) return Math.min(room, holdable);
    this.#isFull = true;
    if (room > 0) {
      this.#shared.counters.heldFull++;
      this.#retryLater();
    }
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
    this.#readEnded = true;
    this.#peer!.finish();
    this.#closeIfOver();
  }

  /** Keeps what the peer did not take until it is resumed. */
  #keep(rest: Uint8Array<ArrayBuffer>): void {
    if (this.#isClosed) return;
    this.#unsent = new Rest(this.#shared, rest, this.#owner);
    this.#isFull = true;
  }

  #offer(rest: Rest, peer: ByteEnd): void {
    const { left } = rest;
    const taken = peer.write(rest.bytes, rest.at, left);
    if (this.#isClosed) return;
    rest.at += taken;
    if (taken < left) {
      this.#isFull = true;
      return;
    }
    rest.drop();
    this.#unsent = undefined;
  }

  #retryLater(): void {
    if (this.#retries) return;
    this.#retries = true;
    this.#shared.retryLater(this);
  }

  // ---- the end ----

  #closeIfOver(): void {
    if (!this.#readEnded || !this.#writeEnded || this.#isClosed) return;
    this.#release();
    this.#socket.close();
    this.#owner.endClosed(this);
  }

  #fail(result: number): void {
    this.#giveUp(result === TIMED_OUT ? RstCode.timedOut : RstCode.targetReset);
  }

  #fault(error: unknown): void {
    this.#shared.fault(error);
    if (!this.#isClosed) this.#giveUp(RstCode.internal);
  }

  #giveUp(code: number = RstCode.targetReset): void {
    this.reset();
    this.#peer!.reset(code);
    this.#owner.endClosed(this);
  }

  #release(): void {
    this.#isClosed = true;
    this.#canRead = false;
    if (this.#slot !== NO_SLOT) this.#shared.giveSlot(this.#slot);
    this.#slot = NO_SLOT;
    this.#unwritten?.drop();
    this.#unsent?.drop();
    this.#unwritten = this.#unsent = undefined;
    this.#unwatch();
  }

  #unwatch(): void {
    if (this.#tag !== NOT_WATCHED) this.#shared.loop.unwatch(this.#tag, this.#fd);
    this.#tag = NOT_WATCHED;
  }
}
