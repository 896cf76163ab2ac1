/**
 * A local connection that wants one stream to one target: CONNECT of SOCKS5 and HTTP, and TCP
 * forwards.
 *
 * The stream is opened and what the client sent behind its request is written at once; the client
 * gets its answer when the server has given its own. Then both are joined. A session that is lost
 * before the server has heard of the stream costs nothing: the stream is opened again, once.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain } from "../../ffi/tcp.ts";
import { Outcome } from "../proxy/outcome.ts";
import { OpenedCode } from "../wire/frames.ts";
import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import type { InboundContext, StreamUser } from "./context.ts";
import { Linger } from "./linger.ts";
import type { Holder, LocalConnection } from "./local_connection.ts";
import { type Reopener, Said } from "./said.ts";
import { SocketEnd, type SocketEndOwner } from "../outbound/socket_end.ts";
import { StreamEnd } from "../outbound/stream_end.ts";

/** Taken from a client before the server has answered. */
const EARLY_BYTES_MAX = 256 << 10;

const NOTHING = new Uint8Array(0);
const BROKEN = EpollEvent.error | EpollEvent.hangUp;

/** How the client is told what became of its request. */
export interface Answerer {
  readonly pending: number;
  drain(out: Uint8Array, at: number, room: number): number;
  /** With the address that the server's connection has, as on the wire. */
  accept(bytes: Uint8Array, at: number, length: number): void;
  /** With an Outcome, and what more is known of it. */
  refuse(code: number, more?: string): void;
}

export class Connect implements StreamUser, Reopener, SocketEndOwner, Holder {
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  readonly #connection: LocalConnection;
  /** Of a forward: none. */
  readonly #answerer: Answerer | undefined;
  /** The client's end, once the stream stands. */
  #end: SocketEnd | undefined;
  /** The server's end came before that. */
  #hasEnded = false;
  #address: Uint8Array = NOTHING;
  /** What the client said before the answer. */
  readonly #said: Said;

  constructor(context: InboundContext, connection: LocalConnection, answerer?: Answerer) {
    this.#context = context;
    this.#connection = connection;
    this.#answerer = answerer;
    this.#said = new Said(context.splicer);
    connection.hold(this);
  }

  /** Opens the stream; `bytes`: what the client sent behind its request. */
  begin(address: Uint8Array, bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    const { streams, counters, tunnel } = this.#context;
    this.#address = address;
    if (!streams.open(this, address)) {
      counters.streamsRefused++;
      return this.#refuse(Outcome.tooManyStreams);
    }
    if (length > 0) this.#said.say(this.session!, this.stream, bytes, at, length);
    this.#connection.watch(this.#said.hasRest ? 0 : EpollEvent.in | EpollEvent.readHangUp);
    if (this.session !== undefined) tunnel.wake(this.session);
  }

  // ---- before the answer ----

  ready(events: number): void {
    if ((events & BROKEN) !== 0) return this.#cut();
    const { arena, tunnel } = this.#context;
    const { session } = this;
    // It is opened again at the end of this round.
    if (session === undefined) return;
    const left = EARLY_BYTES_MAX - this.#said.bytes;
    const room = Math.min(arena.length, left, session.room(this.stream));
    if (room <= 0) return this.#connection.watch(0);
    const count = this.#connection.socket.read(arena, 0, room);
    if (count === tcpAgain) return;
    if (count < 0) return this.#cut();
    if (count === 0) this.#said.finish(session, this.stream);
    else this.#said.say(session, this.stream, arena, 0, count);
    if (this.#said.isFinished || this.#said.hasRest) this.#connection.watch(0);
    tunnel.wake(session);
  }

  /** The client has gone before there was an answer. */
  #cut(): void {
    const { session } = this;
    session?.reset(this.stream, RstCode.cancelled);
    if (session !== undefined) this.#context.tunnel.wake(session);
    this.abort();
  }

  #refuse(code: number): void {
    const more = this.#context.failed(this.#address, code);
    this.#said.drop();
    this.#context.streams.forget(this);
    const connection = this.#connection;
    const answerer = this.#answerer;
    if (answerer === undefined) return connection.reset();
    answerer.refuse(code, more);
    if (this.#context.reply(connection.socket, answerer)) new Linger(this.#context, connection);
    else connection.reset();
  }

  #join(): void {
    const { splicer, tunnel } = this.#context;
    const connection = this.#connection;
    connection.unwatch();
    const rest = this.#said.takeRest();
    const end = this.#end = new SocketEnd(splicer, this, connection.socket, rest);
    end.join(new StreamEnd(splicer, tunnel, this.session!, this.stream, end));
    try {
      end.start(this.#said.isFinished);
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
    this.#said.wasHeard();
    const answerer = this.#answerer;
    answerer?.accept(bytes, at, length);
    if (answerer !== undefined && !this.#context.reply(this.#connection.socket, answerer)) {
      return this.#cut();
    }
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
    if (this.#end === undefined) this.#refuse(Outcome.unreachable);
    else this.abort();
  }

  writable(): void {
    this.#end?.resume();
  }

  lost(isUnheard: boolean): void {
    if (isUnheard && this.#said.canRepeat) this.#context.reopening.add(this);
    else if (this.#end === undefined) this.#refuse(Outcome.tunnelDown);
    else this.abort();
  }

  /** In the next session, as if nothing had been. */
  reopen(): void {
    const { streams, counters, tunnel } = this.#context;
    if (this.#connection.isOver) return;
    if (!streams.open(this, this.#address)) {
      counters.streamsRefused++;
      return this.#refuse(Outcome.tooManyStreams);
    }
    counters.reopened++;
    const session = this.session!;
    this.#said.repeat(session, this.stream);
    if (this.#said.hasRest) this.#connection.watch(0);
    tunnel.wake(session);
  }

  // ---- the end ----

  endClosed(): void {
    this.#context.streams.forget(this);
    this.#connection.leave();
  }

  /** Closes the socket; the stream is somebody else's affair. */
  abort(): void {
    if (!this.#connection.leave()) return;
    this.#context.streams.forget(this);
    this.#said.drop();
    if (this.#end === undefined) this.#connection.socket.abort();
    else this.#end.reset();
  }
}
