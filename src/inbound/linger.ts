/**
 * The end of a local connection that was told something last: closed at once, while bytes of the
 * client are still unread, it would be reset, and the client would never see what it was told.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import type { InboundContext, Live } from "./context.ts";
import { NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";

const LINGER_MS = 2000;
/** Read and thrown away, at most. */
const LINGER_BYTES_MAX = 1 << 20;

/** Takes over a socket that nobody watches: says the end, and closes when the client has too. */
export class Linger implements Live, Watcher, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #socket: TcpSocket;
  readonly #tag: number;
  #left = LINGER_BYTES_MAX;

  constructor(context: InboundContext, socket: TcpSocket) {
    this.#context = context;
    this.#socket = socket;
    const { loop } = context;
    context.live.add(this);
    this.#tag = loop.watch(socket.fd, EpollEvent.in | EpollEvent.readHangUp, this);
    loop.arm(this, loop.now + LINGER_MS);
    if (socket.finish() < 0) this.abort();
  }

  ready(): void {
    const { arena } = this.#context;
    const count = this.#socket.read(arena, 0, arena.length);
    if (count === tcpAgain) return;
    this.#left -= count;
    if (count <= 0 || this.#left <= 0) this.abort();
  }

  fire(): void {
    this.abort();
  }

  abort(): void {
    if (!this.#context.live.delete(this)) return;
    const { loop } = this.#context;
    loop.disarm(this);
    loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
  }
}
