/**
 * The end of a local connection that was told something last: closed at once, while bytes of the
 * client are still unread, it would be reset, and the client would never see what it was told.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain } from "../../ffi/tcp.ts";
import type { InboundContext } from "./context.ts";
import type { Holder, LocalConnection } from "./local_connection.ts";
import { NOT_ARMED, type Timer } from "../loop/loop.ts";

const LINGER_MS = 2000;
/** Read and thrown away, at most. */
const LINGER_BYTES_MAX = 1 << 20;

/** Takes over a connection: says the end, and closes when the client has too. */
export class Linger implements Holder, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #connection: LocalConnection;
  #left = LINGER_BYTES_MAX;

  constructor(context: InboundContext, connection: LocalConnection) {
    this.#context = context;
    this.#connection = connection;
    connection.hold(this);
    connection.watch(EpollEvent.in | EpollEvent.readHangUp);
    context.loop.arm(this, context.loop.now + LINGER_MS);
    if (connection.socket.finish() < 0) this.abort();
  }

  ready(): void {
    const { arena } = this.#context;
    const count = this.#connection.socket.read(arena, 0, arena.length);
    if (count === tcpAgain) return;
    this.#left -= count;
    if (count <= 0 || this.#left <= 0) this.abort();
  }

  fire(): void {
    this.abort();
  }

  abort(): void {
    this.#context.loop.disarm(this);
    this.#connection.close();
  }
}
