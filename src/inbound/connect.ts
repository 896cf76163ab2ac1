/**
 * A local connection that wants one stream to one target: CONNECT of SOCKS5 and HTTP, and TCP
 * forwards.
 *
 * The stream is opened and what the client sent behind its request is written at once; the client
 * gets its answer when the server has given its own. Then both are spliced. A session that is lost
 * before the server has heard of the stream costs nothing: the stream is opened again, once.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import { OpenedCode } from "../wire/frames.ts";
import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import type { InboundContext, Live, StreamUser } from "./context.ts";
import { Linger } from "./linger.ts";
import { type Reopener, sayAgain, Unheard } from "./unheard.ts";
import type { Watcher } from "../loop/loop.ts";
import { SocketEnd, type SocketEndOwner } from "../outbound/socket_end.ts";
import { StreamEnd } from "../outbound/stream_end.ts";

/** Taken from a client before the server has answered. */
export const EARLY_BYTES_MAX = 256 << 10;

const NOT_WATCHED = -1;
const NOTHING = new Uint8Array(0);
const BROKEN = EpollEvent.error | EpollEvent.hangUp;

/** How the client is told what became of its request. */
export interface Answerer {
  readonly pending: number;
  drain(out: Uint8Array, at: number, room: number): number;
  /** With the address that the server's connection has, as on the wire. */
  accept(bytes: Uint8Array, at: number, length: number): void;
  /** With a code of OPENED. */
  refuse(code: number): void;
}

export class Connect implements StreamUser, Reopener, SocketEndOwner, Watcher, Live {
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  readonly #socket: TcpSocket;
  /** Of a forward: none. */
  readonly #answerer: Answerer | undefined;
  #tag = NOT_WATCHED;
  /** The client's end, once the stream stands. */
  #end: SocketEnd | undefined;
  /** Bytes that the session had no memory for. */
  #rest: Uint8Array<ArrayBuffer> = NOTHING;
  #early = 0;
  #hasEnded = false;
  #address: Uint8Array = NOTHING;
  /** To be said again. */
  readonly #unheard: Unheard;

  /** Takes over a socket that nobody watches. */
  constructor(context: InboundContext, socket: TcpSocket, answerer?: Answerer) {
    this.#context = context;
    this.#socket = socket;
    this.#answerer = answerer;
    this.#unheard = new Unheard(context.splicer);
    context.live.add(this);
  }

  /** Opens the stream; `bytes`: what the client sent behind its request. */
  begin(address: Uint8Array, bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    const { streams, counters, loop, tunnel } = this.#context;
    if (!streams.open(this, address)) {
      counters.streamsRefused++;
      return this.#refuse(OpenedCode.tooManyStreams);
    }
    this.#address = address;
    if (length > 0) this.#writeEarly(bytes, at, length);
    const events = EpollEvent.in | EpollEvent.readHangUp;
    this.#tag = loop.watch(this.#socket.fd, this.#rest.length > 0 ? 0 : events, this);
    if (this.session !== undefined) tunnel.wake(this.session);
  }

  // ---- before the answer ----

  ready(events: number): void {
    if ((events & BROKEN) !== 0) return this.#cut();
    const { arena, tunnel } = this.#context;
    const { session } = this;
    // It is opened again at the end of this round.
    if (session === undefined) return;
    const room = Math.min(arena.length, EARLY_BYTES_MAX - this.#early, session.room(this.stream));
    if (room <= 0) return this.#watchNothing();
    const count = this.#socket.read(arena, 0, room);
    if (count === tcpAgain) return;
    if (count < 0) return this.#cut();
    if (count === 0) {
      session.finish(this.stream);
      this.#unheard.isFinished = true;
      this.#watchNothing();
    } else this.#writeEarly(arena, 0, count);
    tunnel.wake(session);
  }

  #writeEarly(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    this.#early += length;
    this.#unheard.add(bytes, at, length);
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
    this.#unheard.drop();
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
    const { splicer, tunnel } = this.#context;
    const rest = this.#rest;
    this.#rest = NOTHING;
    const end = this.#end = new SocketEnd(splicer, this, this.#socket, rest);
    end.join(new StreamEnd(splicer, tunnel, this.session!, this.stream, end));
    try {
      end.start(this.#unheard.isFinished);
    } catch (error) {
      // The system has no room to watch it.
      this.#context.fault(error);
      this.#cut();
    }
  }

  // ---- the stream's events ----

  answered(code: number, bytes: Uint8Array, at: number, length: number): void {
    if (code !== OpenedCode.ok) {
      this.#context.counters.targetsRefused++;
      if (this.#end === undefined) return this.#refuse(code);
      return this.abort();
    }
    if (this.#end !== undefined) return;
    this.#unheard.drop();
    const answerer = this.#answerer;
    answerer?.accept(bytes, at, length);
    if (answerer !== undefined && !this.#context.reply(this.#socket, answerer)) return this.#cut();
    this.#join();
    if (this.#hasEnded) this.ended();
    else this.session?.resume(this.stream);
  }

  data(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    // Before the answer is out it waits in the session.
    return this.#end === undefined ? 0 : this.#end.write(bytes, at, length);
  }

  ended(): void {
    this.#hasEnded = true;
    this.#end?.finish();
  }

  wasReset(_code: number): void {
    if (this.#end === undefined) this.#refuse(OpenedCode.unreachable);
    else this.abort();
  }

  writable(): void {
    this.#end?.resume();
  }

  lost(isUnheard: boolean): void {
    if (isUnheard && !this.#unheard.isGone) this.#context.reopening.add(this);
    else this.wasReset(RstCode.cancelled);
  }

  /** In the next session, as if nothing had been. */
  reopen(): void {
    const { streams, counters, live, tunnel } = this.#context;
    if (!live.has(this)) return;
    if (!streams.open(this, this.#address)) {
      counters.streamsRefused++;
      return this.#refuse(OpenedCode.tooManyStreams);
    }
    counters.reopened++;
    const session = this.session!;
    // All that was read, also what the session before had not taken.
    this.#rest = sayAgain(session, this.stream, this.#unheard);
    if (this.#rest.length > 0) this.#watchNothing();
    tunnel.wake(session);
  }

  // ---- the end ----

  endClosed(): void {
    this.#context.streams.forget(this);
    this.#context.live.delete(this);
  }

  /** Closes the socket; the stream is somebody else's affair. */
  abort(): void {
    if (!this.#context.live.delete(this)) return;
    this.#context.streams.forget(this);
    this.#unheard.drop();
    this.#unwatch();
    if (this.#end === undefined) this.#socket.abort();
    else this.#end.reset(RstCode.cancelled);
  }
}
