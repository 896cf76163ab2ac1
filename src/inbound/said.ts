/**
 * What an inbound says on a stream that has had no answer yet, and on to its end: what the session
 * did not take waits here. Where the session is lost before the server has heard of the stream, the
 * stream is opened once more in the next session and told the same.
 */

import type { Session } from "../session/session.ts";
import type { Loop, Task } from "../loop/loop.ts";
import { HELD_BYTES_MAX, Rest, type Splicer } from "../outbound/splicer.ts";

/** Bytes kept of one stream: a request or a TLS hello. Who has said more is not helped. */
export const UNHEARD_BYTES_MAX = 32 << 10;

const NOTHING = new Uint8Array(0);

export class Said {
  readonly #splicer: Splicer;
  /** All that was said, as long as it can be said again. */
  #unheard: Uint8Array<ArrayBuffer> = NOTHING;
  /** Can't be said again: too much, answered, or said a second time already. */
  #isHeard = false;
  #rest: Rest | undefined;
  /** All bytes, taken by the session or not. */
  bytes = 0;
  /** Nothing comes behind the bytes, and the session was told. */
  isFinished = false;

  constructor(splicer: Splicer) {
    this.#splicer = splicer;
  }

  /** Whether a lost session costs nothing. */
  get canRepeat(): boolean {
    return !this.#isHeard;
  }

  /** Whether something waits for the session to take it. */
  get hasRest(): boolean {
    return this.#rest !== undefined;
  }

  /** Not while something waits: it would come before that. */
  say(
    session: Session,
    stream: number,
    bytes: Uint8Array<ArrayBuffer>,
    at: number,
    length: number,
  ): void {
    this.bytes += length;
    this.#remember(bytes, at, length);
    const taken = session.write(stream, bytes, at, length);
    this.#splicer.counters.bytesDown += taken;
    if (taken < length) this.#rest = new Rest(this.#splicer, bytes.slice(at + taken, at + length));
  }

  finish(session: Session, stream: number): void {
    session.finish(stream);
    this.isFinished = true;
  }

  /** Offers what waits; whether nothing waits any more. */
  sayRest(session: Session, stream: number): boolean {
    const rest = this.#rest;
    if (rest === undefined) return true;
    const taken = session.write(stream, rest.bytes, rest.at, rest.left);
    this.#splicer.counters.bytesDown += taken;
    rest.at += taken;
    if (rest.left > 0) return false;
    this.dropRest();
    return true;
  }

  /** What waits, for who goes on with the stream. */
  takeRest(): Uint8Array<ArrayBuffer> {
    const rest = this.#rest;
    this.dropRest();
    return rest === undefined ? NOTHING : rest.bytes.subarray(rest.at);
  }

  /** On another stream all that was said on the one that is lost; it can be done once. */
  repeat(session: Session, stream: number): void {
    const bytes = this.#unheard;
    const { isFinished } = this;
    this.wasHeard();
    this.dropRest();
    const taken = session.write(stream, bytes, 0, bytes.length);
    if (taken < bytes.length) {
      this.#rest = new Rest(this.#splicer, bytes.slice(taken));
      this.isFinished = false;
    } else if (isFinished) session.finish(stream);
  }

  /** The server has it: it need not be said again. */
  wasHeard(): void {
    this.#splicer.held -= this.#unheard.length;
    this.#unheard = NOTHING;
    this.#isHeard = true;
  }

  dropRest(): void {
    this.#rest?.drop();
    this.#rest = undefined;
  }

  /** It is over. */
  drop(): void {
    this.wasHeard();
    this.dropRest();
  }

  #remember(bytes: Uint8Array, at: number, length: number): void {
    if (this.#isHeard || length === 0) return;
    const before = this.#unheard.length;
    if (before + length > UNHEARD_BYTES_MAX || this.#splicer.held + length > HELD_BYTES_MAX) {
      return this.wasHeard();
    }
    const all = new Uint8Array(before + length);
    all.set(this.#unheard);
    all.set(bytes.subarray(at, at + length), before);
    this.#unheard = all;
    this.#splicer.held += length;
  }
}

/** A stream's user that can open it again. */
export interface Reopener {
  reopen(): void;
}

/** Those that wait for the end of the round: a session that is just ending opens no other one. */
export class Reopening implements Task {
  isPosted = false;
  readonly #loop: Loop;
  #waiting: Reopener[] = [];

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  add(user: Reopener): void {
    this.#waiting.push(user);
    this.#loop.post(this);
  }

  runTask(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const user of waiting) user.reopen();
  }
}
