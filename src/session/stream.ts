/** One stream of a session: both halves, and what is to be said about it. */

import { ReceiveWindow } from "../reliability/flow.ts";
import { STREAM_WINDOW_BYTES } from "../wire/limits.ts";
import { STREAM_SEND_MAX, STREAM_WINDOW_MAX } from "./limits.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { SendBuffer } from "./send_buffer.ts";
import type { Share } from "./share.ts";

/** Frames about a stream that are to be sent (again). */
export const Pending = { open: 1, opened: 2, maxStream: 4, rst: 8 } as const;

const NO_BYTES = new Uint8Array(0);

export class Stream {
  readonly id: number;
  readonly send: SendBuffer;
  readonly receive: ReceiveBuffer;
  readonly window: ReceiveWindow = new ReceiveWindow(STREAM_WINDOW_BYTES, STREAM_WINDOW_MAX);
  /** Bits of Pending. */
  pending = 0;
  /** Bits of Pending: what was said and is not acknowledged yet, MAX_STREAM aside. */
  unsettled = 0;
  /** In the queue of streams with something to send. */
  queued = false;
  /** The OPEN has been said, or has come: before that only data is kept. */
  isOpen = false;
  /** The driver knows of it: only then it hears of its end. */
  isTold = false;
  /** OPENED has come, or has been said. */
  isAnswered = false;
  /** What OPEN or OPENED says. */
  kindOrCode = 0;
  address: Uint8Array = NO_BYTES;
  rstCode = 0;
  /** We said RST, or were told: no data is read or written any more. */
  isReset = false;
  /** The reader took less than it was given: nothing more before it resumes. */
  isPaused = false;
  /** The writer was refused bytes and wants to hear of room. */
  writerWaits = false;
  /** The reader has been told that there is no more. */
  endTold = false;
  /** A reset stream whose peer never says its final size is forgotten at this time. */
  forgetAt = Infinity;

  constructor(id: number, share: Share) {
    this.id = id;
    this.send = new SendBuffer(share, STREAM_SEND_MAX, STREAM_WINDOW_BYTES);
    this.receive = new ReceiveBuffer(share);
  }

  /** Bytes of memory that it holds. */
  get memoryBytes(): number {
    return this.send.capacity + this.receive.kept;
  }

  /** OPENED or RST has been said, or is to be, and is not acknowledged. */
  get owesAnswer(): boolean {
    return (this.unsettled & (Pending.opened | Pending.rst)) !== 0;
  }

  /** All that we had to say has arrived. */
  get isSaid(): boolean {
    return this.pending === 0 && this.unsettled === 0 && this.send.isDone;
  }

  /** Nothing is left to send, to receive or to say. */
  get isGone(): boolean {
    if (!this.isSaid) return false;
    if (this.isReset) return this.receive.final !== Infinity;
    return this.isAnswered && this.endTold;
  }

  get hasWork(): boolean {
    return this.pending !== 0 || this.send.hasWork;
  }

  /** OPEN, OPENED or RST is to be said until it has arrived. */
  owe(frame: number): void {
    this.pending |= frame;
    this.unsettled |= frame;
  }

  /** One of them was lost. */
  oweAgain(frame: number): void {
    this.pending |= this.unsettled & frame;
  }

  /** One of them has arrived. */
  settle(frame: number): void {
    this.unsettled &= ~frame;
    this.pending &= ~frame;
    if ((frame & (Pending.open | Pending.opened)) !== 0) this.address = NO_BYTES;
  }

  release(): void {
    this.receive.release();
    this.send.release();
  }
}
