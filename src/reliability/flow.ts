// Flow control: what a sender may still send, and what a receiver lets it send.

import type { NumberCell } from "../base/number_field.ts";
import { WINDOW_GROWTH_RTTS, WINDOW_SPENT_SHARE, WINDOW_UPDATE_SHARE } from "./params.ts";

/** The sender's side of one limit: of a stream, or of the session. */
export class SendCredit {
  #max: number;
  #used = 0;

  constructor(initial: number) {
    this.#max = initial;
  }

  get available(): number {
    return this.#max - this.#used;
  }

  get used(): number {
    return this.#used;
  }

  /** Uses up credit for bytes that are sent for the first time; they have to be available. */
  consume(bytes: number): void {
    if (bytes < 0 || bytes > this.available) {
      throw new RangeError(`Cannot send ${bytes} bytes as ${this.available} are allowed`);
    }
    this.#used += bytes;
  }

  /** A limit from the peer; one that is smaller than before is late and says nothing. */
  raise(max: number): boolean {
    if (max <= this.#max) return false;
    this.#max = max;
    return true;
  }
}

/**
 * The receiver's side: the limit runs ahead of what was consumed by a window, up to a maximum. The
 * window doubles while it is used up faster than the round trip can renew it, and where what is
 * lost holds up so much that the peer runs out of credit.
 */
export class ReceiveWindow {
  #limit: number;
  #window: number;
  readonly #max: number;
  #received = 0;
  #consumed = 0;
  #updatedAt = -1;

  constructor(initial: number, max: number) {
    this.#limit = initial;
    this.#window = initial;
    this.#max = Math.max(initial, max);
  }

  get limit(): number {
    return this.#limit;
  }

  get window(): number {
    return this.#window;
  }

  /** Bytes that came and are not consumed: what the receiver holds, or still misses. */
  get held(): number {
    return this.#received - this.#consumed;
  }

  get received(): number {
    return this.#received;
  }

  /** For a stream: data up to `end` came. The bytes that are new, or -1: over the limit. */
  receive(end: NumberCell): number {
    if (end[0]! > this.#limit) return -1;
    const fresh = Math.max(0, end[0]! - this.#received);
    this.#received += fresh;
    return fresh;
  }

  /** For a session: `bytes` more came on any stream. False: over the limit. */
  receiveMore(bytes: number): boolean {
    if (bytes > this.#limit - this.#received) return false;
    this.#received += bytes;
    return true;
  }

  /** Bytes were handed on, or belong to a stream that is gone. */
  consume(bytes: number): void {
    this.#consumed += bytes;
  }

  /** Whether the peer should hear of a new limit. */
  get updateDue(): boolean {
    return this.#limit - this.#consumed <= this.#window * (1 - WINDOW_UPDATE_SHARE);
  }

  /**
   * Whether the peer soon runs out of credit though the window may still grow. Where the reader
   * takes all that it can have, it is losses that hold up what came: the window has to span them.
   */
  get isSpent(): boolean {
    return this.#window < this.#max &&
      this.#limit - this.#received < WINDOW_SPENT_SHARE * this.#window;
  }

  /**
   * The limit to tell now, grown with use; `rtt` is the smoothed round trip. `keepsUp`: the reader
   * has taken all that it can have.
   */
  update(now: number, rtt: number, keepsUp: boolean): number {
    const isQuick = this.#updatedAt >= 0 &&
      now - this.#updatedAt < WINDOW_GROWTH_RTTS * rtt * WINDOW_UPDATE_SHARE;
    if (isQuick || (keepsUp && this.isSpent)) this.#window = Math.min(this.#max, 2 * this.#window);
    this.#updatedAt = now;
    this.#limit = Math.max(this.#limit, this.#consumed + this.#window);
    return this.#limit;
  }
}
