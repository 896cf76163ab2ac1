/** A local connection, held by one after the other: a greeting, a request, a stream, its end. */

import type { TcpSocket } from "../../ffi/tcp.ts";
import type { Loop, Watcher } from "../loop/loop.ts";
import type { Live } from "./context.ts";

/** Who has the connection at the moment. */
export interface Holder extends Watcher {
  /** Ends what it does, and the connection with it. */
  abort(): void;
}

const NOT_WATCHED = -1;

export class LocalConnection implements Watcher, Live {
  readonly socket: TcpSocket;
  readonly #loop: Loop;
  readonly #live: Set<Live>;
  #holder: Holder | undefined;
  #tag = NOT_WATCHED;
  #events = 0;

  /** Takes over a socket that nobody watches. */
  constructor(context: { readonly loop: Loop; readonly live: Set<Live> }, socket: TcpSocket) {
    this.socket = socket;
    this.#loop = context.loop;
    this.#live = context.live;
    this.#live.add(this);
  }

  get isOver(): boolean {
    return !this.#live.has(this);
  }

  /** From now on the holder hears of it, and not who held it before. */
  hold(holder: Holder): void {
    this.#holder = holder;
  }

  /** Asks epoll for these; 0: but for a reset, of which epoll tells unasked. */
  watch(events: number): void {
    if (this.#tag === NOT_WATCHED) {
      this.#tag = this.#loop.watch(this.socket.fd, events, this);
    } else if (events !== this.#events) this.#loop.change(this.#tag, this.socket.fd, events);
    this.#events = events;
  }

  /** Somebody else watches the socket. */
  unwatch(): void {
    if (this.#tag !== NOT_WATCHED) this.#loop.unwatch(this.#tag, this.socket.fd);
    this.#tag = NOT_WATCHED;
  }

  ready(events: number): void {
    this.#holder?.ready(events);
  }

  /** A stop ends it. */
  abort(): void {
    if (this.#holder === undefined) this.reset();
    else this.#holder.abort();
  }

  /** It is over, and its socket somebody else's to close. Whether it was not over before. */
  leave(): boolean {
    if (!this.#live.delete(this)) return false;
    this.unwatch();
    return true;
  }

  close(): void {
    if (this.leave()) this.socket.close();
  }

  /** Closes with a RST. */
  reset(): void {
    if (this.leave()) this.socket.abort();
  }
}
