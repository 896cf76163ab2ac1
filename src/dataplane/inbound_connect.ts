/**
 * A local connection that wants one stream to one target: CONNECT of SOCKS5 and HTTP, and TCP
 * forwards.
 *
 * The stream is opened and what the client sent behind its request is written at once; the client
 * gets its answer when the server has given its own. Then both are spliced.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import { OpenCode } from "../proxy/outcome.ts";
import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import type { InboundContext, Live, StreamUser } from "./inbound_context.ts";
import { Linger } from "./inbound_linger.ts";
import type { Watcher } from "./loop.ts";
import { Splice, type SpliceOwner } from "./splice.ts";

/** Taken from a client before the server has answered. */
export const EARLY_BYTES_MAX = 256 << 10;

const NOT_WATCHED = -1;
const NOTHING = new Uint8Array(0);
const BROKEN = EpollEvent.error | EpollEvent.hangUp;

/** How the client is told what became of its request. */
export interface Answerer {
  readonly pending: number;
  drain(out: Uint8Array, at: number, room: number): number;
  accept(): void;
  /** With a code of OPENED. */
  refuse(code: number): void;
}

export class Connect implements StreamUser, SpliceOwner, Watcher, Live {
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  readonly #socket: TcpSocket;
  /** Of a forward: none, it is spliced at once. */
  readonly #answerer: Answerer | undefined;
  #tag = NOT_WATCHED;
  #splice: Splice | undefined;
  /** Bytes that the session had no memory for. */
  #rest: Uint8Array<ArrayBuffer> = NOTHING;
  #early = 0;
  #hasEnded = false;

  /** Takes over a socket that nobody watches. */
  constructor(context: InboundContext, socket: TcpSocket, answerer?: Answerer) {
    this.#context = context;
    this.#socket = socket;
    this.#answerer = answerer;
    context.live.add(this);
  }

  /** Opens the stream; `bytes`: what the client sent behind its request. */
  begin(address: Uint8Array, bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    const { streams, counters, loop, tunnel } = this.#context;
    if (!streams.open(this, address)) {
      counters.streamsRefused++;
      return this.#refuse(OpenCode.TOO_MANY);
    }
    if (length > 0) this.#writeEarly(bytes, at, length);
    if (this.#answerer === undefined) this.#join();
    else {
      const events = EpollEvent.in | EpollEvent.readHangUp;
      this.#tag = loop.watch(this.#socket.fd, this.#rest.length > 0 ? 0 : events, this);
    }
    if (this.session !== undefined) tunnel.wake(this.session);
  }

  // ---- before the answer ----

  ready(events: number): void {
    if ((events & BROKEN) !== 0) return this.#cut();
    const { arena, tunnel } = this.#context;
    const session = this.session!;
    const room = Math.min(arena.length, EARLY_BYTES_MAX - this.#early, session.room(this.stream));
    if (room <= 0) return this.#watchNothing();
    const count = this.#socket.read(arena, 0, room);
    if (count === tcpAgain) return;
    if (count < 0) return this.#cut();
    if (count === 0) {
      // The splice will meet the end once more.
      session.finish(this.stream);
      this.#watchNothing();
    } else this.#writeEarly(arena, 0, count);
    tunnel.wake(session);
  }

  #writeEarly(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    this.#early += length;
    const taken = this.session!.write(this.stream, bytes, at, length);
    this.#context.splicer.counters.bytesDown += taken;
    if (taken === length) return;
    this.#rest = bytes.slice(at + taken, at + length);
    this.#watchNothing();
  }

  /** But for a reset, of which epoll tells unasked. */
  #watchNothing(): void {
    if (this.#tag !== NOT_WATCHED) this.#context.loop.change(this.#tag, this.#socket.fd, 0);
  }

  #unwatch(): void {
    if (this.#tag !== NOT_WATCHED) this.#context.loop.unwatch(this.#tag, this.#socket.fd);
    this.#tag = NOT_WATCHED;
  }

  /** The client has gone before there was an answer. */
  #cut(): void {
    const { session } = this;
    session?.reset(this.stream, RstCode.cancelled);
    if (session !== undefined) this.#context.tunnel.wake(session);
    this.abort();
  }

  #refuse(code: number): void {
    this.#unwatch();
    this.#context.streams.forget(this);
    this.#context.live.delete(this);
    const answerer = this.#answerer;
    if (answerer === undefined) return this.#socket.abort();
    answerer.refuse(code);
    if (this.#context.reply(this.#socket, answerer)) new Linger(this.#context, this.#socket);
    else this.#socket.abort();
  }

  #join(): void {
    this.#unwatch();
    const { splicer } = this.#context;
    const rest = this.#rest;
    this.#rest = NOTHING;
    this.#splice = new Splice(splicer, this, this.session!, this.stream, this.#socket, rest);
    try {
      this.#splice.start();
    } catch {
      // The system has no room to watch it.
      this.#context.counters.faults++;
      this.#cut();
    }
  }

  // ---- the stream's events ----

  answered(code: number): void {
    if (code !== OpenCode.OK) {
      this.#context.counters.targetsRefused++;
      if (this.#splice === undefined) return this.#refuse(code);
      return this.abort();
    }
    if (this.#answerer === undefined || this.#splice !== undefined) return;
    this.#answerer.accept();
    if (!this.#context.reply(this.#socket, this.#answerer)) return this.#cut();
    this.#join();
    if (this.#hasEnded) this.ended();
    else this.session?.resume(this.stream);
  }

  data(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    // Before the answer is out it waits in the session.
    return this.#splice === undefined ? 0 : this.#splice.data(bytes, at, length);
  }

  ended(): void {
    this.#hasEnded = true;
    this.#splice?.end();
  }

  wasReset(_code: number): void {
    if (this.#splice === undefined) this.#refuse(OpenCode.UNREACHABLE);
    else this.abort();
  }

  writable(): void {
    this.#splice?.writable();
  }

  lost(): void {
    this.wasReset(RstCode.cancelled);
  }

  // ---- the end ----

  spliceClosed(): void {
    this.#context.streams.forget(this);
    this.#context.live.delete(this);
  }

  /** Closes the socket; the stream is somebody else's affair. */
  abort(): void {
    if (!this.#context.live.delete(this)) return;
    this.#context.streams.forget(this);
    this.#unwatch();
    if (this.#splice === undefined) this.#socket.abort();
    else this.#splice.abort();
  }
}
