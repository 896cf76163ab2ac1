/** A stream of the tunnel as the end that bytes are written to. */

import type { ByteEnd } from "./byte_end.ts";
import type { Splicer } from "./splicer.ts";

/** What is asked of the session of a stream. */
export interface StreamSession {
  write(id: number, bytes: Uint8Array, at: number, length: number): number;
  room(id: number): number;
  finish(id: number): void;
  reset(id: number, code: number): void;
  resume(id: number): void;
}

/** Has a session's packets sent at the end of the round. */
export interface Waker<S> {
  wake(session: S): void;
}

/**
 * The session tells the peer itself of what comes (data → write, an end → finish, RST → reset,
 * room → resume): whoever gets its events passes them on.
 */
export class StreamEnd implements ByteEnd {
  readonly #splicer: Splicer;
  readonly #waker: Waker<StreamSession>;
  readonly #session: StreamSession;
  readonly #id: number;
  readonly #peer: ByteEnd;
  #retries = false;

  constructor(
    splicer: Splicer,
    waker: Waker<StreamSession>,
    session: StreamSession,
    id: number,
    peer: ByteEnd,
  ) {
    this.#splicer = splicer;
    this.#waker = waker;
    this.#session = session;
    this.#id = id;
    this.#peer = peer;
  }

  write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    const taken = this.#session.write(this.#id, bytes, at, length);
    if (taken < length) this.#retryLater();
    this.#waker.wake(this.#session);
    return taken;
  }

  room(): number {
    const room = this.#session.room(this.#id);
    // Takes nothing, and has the session tell when there is room.
    if (room <= 0) this.#session.write(this.#id, this.#splicer.readArena, 0, 1);
    return room;
  }

  finish(): void {
    this.#session.finish(this.#id);
    this.#waker.wake(this.#session);
  }

  reset(code: number): void {
    this.#session.reset(this.#id, code);
    this.#waker.wake(this.#session);
  }

  resume(): void {
    this.#session.resume(this.#id);
    this.#waker.wake(this.#session);
  }

  /** The session had no memory, though there was room, and may never say that it has. */
  #retryLater(): void {
    if (this.#retries) return;
    this.#retries = true;
    this.#splicer.retryLater(this);
  }

  retry(): void {
    this.#retries = false;
    this.#peer.resume();
  }
}
