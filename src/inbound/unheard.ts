/**
 * What was said on a stream that has had no answer yet. Where its session is lost before the server
 * has heard of the stream, it is opened once more in the next session and told the same.
 */

import type { Session } from "../session/session.ts";
import type { Loop, Task } from "../loop/loop.ts";
import { HELD_BYTES_MAX, type Splicer } from "../outbound/splicer.ts";

/** Bytes kept of one stream: a request or a handshake's begin. Who has said more is not helped. */
export const UNHEARD_BYTES_MAX = 32 << 10;

const NOTHING = new Uint8Array(0);

/** The copy of one stream's first bytes. */
export class Unheard {
  readonly #splicer: Splicer;
  #bytes: Uint8Array<ArrayBuffer> = NOTHING;
  /** Can't be said again: too much, answered, or said a second time already. */
  #isGone = false;
  /** Nothing comes behind the bytes. */
  isFinished = false;

  constructor(splicer: Splicer) {
    this.#splicer = splicer;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  add(bytes: Uint8Array, at: number, length: number): void {
    if (this.#isGone || length === 0) return;
    const before = this.#bytes.length;
    if (before + length > UNHEARD_BYTES_MAX || this.#splicer.held + length > HELD_BYTES_MAX) {
      return this.drop();
    }
    const all = new Uint8Array(before + length);
    all.set(this.#bytes);
    all.set(bytes.subarray(at, at + length), before);
    this.#bytes = all;
    this.#splicer.held += length;
  }

  /** The copy, which is gone afterwards. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    this.drop();
    return bytes;
  }

  drop(): void {
    this.#splicer.held -= this.#bytes.length;
    this.#bytes = NOTHING;
    this.#isGone = true;
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

/** Opens the stream again and says what was said; what the session did not take. */
export function sayAgain(
  session: Session,
  stream: number,
  unheard: Unheard,
): Uint8Array<ArrayBuffer> {
  const { isFinished } = unheard;
  const bytes = unheard.take();
  const taken = session.write(stream, bytes, 0, bytes.length);
  if (taken < bytes.length) unheard.isFinished = false;
  else if (isFinished) session.finish(stream);
  return bytes.subarray(taken);
}
