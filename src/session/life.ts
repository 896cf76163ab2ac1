/**
 * Whether a session is open, how it ends, and when its peer was heard and spoken to last.
 *
 *     open ── fail() ──────────────────> closing ── CLOSE_DRAIN_MS ──> done
 *       └──── finish(): the peer's CLOSE, silence, no path left ───────┘
 *
 * While it is closing it says CLOSE, and again to a peer that goes on.
 */

import type { ReceivedNumbers } from "../reliability/received.ts";
import type { Recovery } from "../reliability/recovery.ts";
import { CloseCode } from "../wire/frames.ts";
import { CLOSE_DRAIN_MS, CLOSE_REPEATS_MAX } from "./limits.ts";
import type { MessageOutput } from "./message_output.ts";
import type { Streams } from "./streams.ts";

const State = { open: 0, closing: 1, done: 2 } as const;

export class SessionLife<Owner> {
  lastHeard: number;
  lastSent: number;
  closeCode: number = CloseCode.done;
  /** A CLOSE is to be said. */
  owesClose = false;
  /** When a session that is closing is done. */
  closeAt = Infinity;
  readonly #streams: Streams<Owner>;
  readonly #messages: MessageOutput;
  readonly #recovery: Recovery;
  readonly #received: ReceivedNumbers;
  #state: number = State.open;
  #closesLeft = 0;

  constructor(
    now: number,
    streams: Streams<Owner>,
    messages: MessageOutput,
    recovery: Recovery,
    received: ReceivedNumbers,
  ) {
    this.lastHeard = this.lastSent = now;
    this.#streams = streams;
    this.#messages = messages;
    this.#recovery = recovery;
    this.#received = received;
  }

  get isOpen(): boolean {
    return this.#state === State.open;
  }

  get isClosing(): boolean {
    return this.#state === State.closing;
  }

  get isDone(): boolean {
    return this.#state === State.done;
  }

  /** Ends it with a CLOSE to the peer. */
  fail(code: number): void {
    if (this.#state !== State.open) return;
    this.#state = State.closing;
    this.closeCode = code;
    this.#closesLeft = CLOSE_REPEATS_MAX;
    this.closeAt = this.#streams.now + CLOSE_DRAIN_MS;
    this.owesClose = true;
    this.#streams.close();
    this.#streams.events.closed(this.#streams.owner, code, true);
  }

  /** Ends it without a word. */
  finish(code: number, isLocal: boolean): void {
    const wasOpen = this.#state === State.open;
    this.#state = State.done;
    this.#streams.close();
    this.#messages.release();
    this.#recovery.close();
    this.#received.release();
    if (!wasOpen) return;
    this.closeCode = code;
    this.#streams.events.closed(this.#streams.owner, code, isLocal);
  }

  /** The peer goes on though it is closing. */
  sayCloseAgain(): void {
    if (this.#state === State.closing && this.#closesLeft > 0) this.owesClose = true;
  }

  closeSaid(): void {
    this.owesClose = false;
    this.#closesLeft--;
  }
}
