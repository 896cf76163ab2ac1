/** What is left of a stream of a plain HTTP proxy when its exchange is over. */

import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import { NOT_ARMED, type Timer } from "../loop/loop.ts";
import type { InboundContext, StreamUser } from "./context.ts";

/** How long an origin may take to close after its answer, and what it may say meanwhile. */
const LEFTOVER_MS = 10_000;
const LEFTOVER_BYTES_MAX = 64 << 10;

/**
 * A stream whose exchange is over, until the origin closes: it may still be taking the request's
 * body, so it is not reset at once.
 */
export class Leftover implements StreamUser, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  #left = LEFTOVER_BYTES_MAX;

  constructor(context: InboundContext, session: Session, stream: number) {
    this.#context = context;
    context.streams.adopt(this, session, stream);
    context.loop.arm(this, context.loop.now + LEFTOVER_MS);
  }

  data(_bytes: Uint8Array, _at: number, length: number): number {
    this.#left -= length;
    if (this.#left >= 0) return length;
    this.fire();
    return 0;
  }

  fire(): void {
    const { session, stream } = this;
    this.#forget();
    if (session === undefined) return;
    session.reset(stream, RstCode.cancelled);
    this.#context.tunnel.wake(session);
  }

  ended(): void {
    this.#forget();
  }

  wasReset(): void {
    this.#forget();
  }

  lost(): void {
    this.#forget();
  }

  answered(): void {}
  writable(): void {}

  #forget(): void {
    this.#context.loop.disarm(this);
    this.#context.streams.forget(this);
  }
}
