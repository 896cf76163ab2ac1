/**
 * Plain HTTP proxying: the client's connection stays, each request gets a stream of its own.
 *
 *     client → HttpInbound → stream         head rewritten, body as it is
 *     stream → HttpResponse → out buffer → client
 *
 * One request at a time: what the client sends behind it waits.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import type { HttpInbound } from "../proxy/http_inbound.ts";
import { HttpResponse } from "../proxy/http_response.ts";
import { OpenedCode } from "../wire/frames.ts";
import { httpStatusOf } from "../proxy/outcome.ts";
import type { Session } from "../session/session.ts";
import { RstCode } from "../wire/frames.ts";
import { copyBytes } from "../base/copy.ts";
import { HANDSHAKE_MS, type InboundContext, type Live, type StreamUser } from "./context.ts";
import { Linger } from "./linger.ts";
import { type Reopener, sayAgain, Unheard } from "./unheard.ts";
import { NOT_ARMED, type Task, type Timer, type Watcher } from "../loop/loop.ts";

/** Of a response, on their way to the client. */
const OUT_BYTES = 32 << 10;
/** When to offer the session again what it had no memory for. */
const RETRY_MS = 20;
const BAD_GATEWAY = 502;
const BROKEN = EpollEvent.error | EpollEvent.hangUp;
const NOTHING = new Uint8Array(0);

/** How long an origin may take to close after its answer, and what it may say meanwhile. */
const LEFTOVER_MS = 10_000;
const LEFTOVER_BYTES_MAX = 64 << 10;

type OnConnect = (bytes: Uint8Array<ArrayBuffer>, at: number, length: number) => void;

export class PlainHttp implements StreamUser, Reopener, Watcher, Timer, Task, Live {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  isPosted = false;
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  readonly #socket: TcpSocket;
  readonly #parser: HttpInbound;
  readonly #onConnect: OnConnect;
  readonly #tag: number;
  #events = 0;
  #isOver = false;
  /** Read, and not for the request at hand. */
  #input: Uint8Array<ArrayBuffer> = NOTHING;
  /** The session had no memory for it. */
  #unsent: Uint8Array<ArrayBuffer> = NOTHING;
  #waitsForRoom = false;
  #response: HttpResponse | undefined;
  #streamEnded = false;
  /** Of the request at hand, to be said again. */
  #unheard: Unheard;
  #out: Uint8Array<ArrayBuffer> = NOTHING;
  #outAt = 0;
  #outEnd = 0;
  #isBlocked = false;

  /**
   * Takes over a socket that nobody watches and whose parser is ready; `onConnect` gets both when
   * the client changes to CONNECT, with bytes that it sent behind that.
   */
  constructor(
    context: InboundContext,
    socket: TcpSocket,
    parser: HttpInbound,
    onConnect: OnConnect,
  ) {
    this.#context = context;
    this.#socket = socket;
    this.#parser = parser;
    this.#onConnect = onConnect;
    this.#unheard = new Unheard(context.splicer);
    this.#tag = context.loop.watch(socket.fd, 0, this);
    context.live.add(this);
  }

  /** Serves the request that the parser has read. */
  begin(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    this.#request();
    this.#consume(bytes, at, length);
    this.#update();
  }

  // ---- the loop's calls ----

  ready(events: number): void {
    if (this.#isOver) return;
    if ((events & BROKEN) !== 0) return this.#cut();
    if ((events & EpollEvent.out) !== 0) {
      this.#isBlocked = false;
      this.#flush();
    }
    if (!this.#isOver && (events & EpollEvent.in) !== 0) this.#read();
    this.#update();
  }

  fire(): void {
    if (this.#unsent.length > 0) return this.#goOn();
    this.#context.counters.handshakesTimedOut++;
    this.#cut();
  }

  /** The end of a round in which the stream gave something. */
  runTask(): void {
    if (this.#isOver) return;
    this.#flush();
    this.#update();
  }

  // ---- client → stream ----

  #read(): void {
    const { arena, splicer: { readArena } } = this.#context;
    // What may come behind a head has to be kept, so that it is not much; a body passes on.
    const into = this.#parser.state === "body" ? readArena : arena;
    const room = Math.min(into.length, this.#room());
    if (room <= 0) return;
    const count = this.#socket.read(into, 0, room);
    if (count === tcpAgain) return;
    // An end amidst a request is a failure; between two it is the client's good right.
    if (count <= 0) return this.#cut();
    this.#consume(into, 0, count);
  }

  /** Bytes that may be read of the client now. */
  #room(): number {
    if (this.#input.length > 0 || this.#unsent.length > 0) return 0;
    const { state } = this.#parser;
    if (state === "head") return this.#context.arena.length;
    if (state !== "body" || this.session === undefined) return 0;
    const room = this.session.room(this.stream);
    if (room <= 0) {
      this.#waitsForRoom = true;
      // Takes nothing, and has the session tell of room.
      this.session.write(this.stream, this.#context.arena, 0, 1);
    }
    return room;
  }

  /** Parses what the client sent, as far as it is this request's. */
  #consume(bytes: Uint8Array<ArrayBuffer>, from: number, length: number): void {
    const end = from + length;
    let at = from;
    while (at < end && !this.#isOver) {
      const { state } = this.#parser;
      if (this.#unsent.length > 0) break;
      if (state === "head") {
        at += this.#parser.feed(bytes, at, end - at);
        if (this.#parser.state === "ready") {
          if (this.#parser.isConnect) return this.#handOver(bytes, at, end - at);
          this.#request();
        } else if (this.#parser.state === "failed") this.#sayFailure();
      } else if (state === "body") {
        const count = this.#parser.body(bytes, at, end - at);
        if (this.#parser.state === "failed") return this.#cut();
        this.#send(bytes, at, count);
        at += count;
      } else break;
    }
    if (at < end && !this.#isOver) this.#input = bytes.slice(at, end);
    this.#armForHead();
    // The answer may have come before the request was whole.
    if (this.#response?.state === "done") this.#context.loop.post(this);
    if (this.session !== undefined) this.#context.tunnel.wake(this.session);
  }

  /** A head that has begun has to end in time. */
  #armForHead(): void {
    if (this.#isOver || this.#unsent.length > 0) return;
    const { loop } = this.#context;
    if (this.#parser.state !== "head" || this.#parser.isIdle) loop.disarm(this);
    else if (this.heapIndex === NOT_ARMED) loop.arm(this, loop.now + HANDSHAKE_MS);
  }

  #request(): void {
    const parser = this.#parser;
    if (!this.#openStream()) return;
    this.#unheard.drop();
    this.#unheard = new Unheard(this.#context.splicer);
    this.#streamEnded = false;
    this.#response = new HttpResponse(parser);
    const head = new Uint8Array(parser.requestPending);
    parser.drainRequest(head, 0, head.length);
    // The body goes with it, before anybody knows whether the target is there.
    parser.accept();
    this.#send(head, 0, head.length);
  }

  /** A stream to the target; false: the request has failed. */
  #openStream(): boolean {
    const { target } = this.#parser;
    const address = new Uint8Array(target.socksLength);
    target.writeSocks(address, 0);
    if (this.#context.streams.open(this, address)) return true;
    this.#context.counters.streamsRefused++;
    this.#fail(httpStatusOf(OpenedCode.tooManyStreams));
    return false;
  }

  /** In the next session, as if nothing had been. */
  reopen(): void {
    if (this.#isOver || !this.#openStream()) return;
    const { counters, loop, tunnel } = this.#context;
    counters.reopened++;
    // All of the request so far, also what the session before had not taken.
    this.#unsent = sayAgain(this.session!, this.stream, this.#unheard);
    if (this.#unsent.length > 0) loop.arm(this, loop.now + RETRY_MS);
    tunnel.wake(this.session!);
    this.#update();
  }

  #send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    if (length === 0 || this.session === undefined) return;
    this.#unheard.add(bytes, at, length);
    this.#sendOn(bytes, at, length);
  }

  #sendOn(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    if (this.session === undefined) return;
    const taken = this.session.write(this.stream, bytes, at, length);
    this.#context.splicer.counters.bytesDown += taken;
    if (taken === length) return;
    this.#unsent = bytes.slice(at + taken, at + length);
    this.#context.loop.arm(this, this.#context.loop.now + RETRY_MS);
  }

  /** The session may take more, or the next request may begin. */
  #goOn(): void {
    if (this.#isOver) return;
    this.#waitsForRoom = false;
    if (this.#unsent.length > 0) {
      const bytes = this.#unsent;
      this.#unsent = NOTHING;
      this.#sendOn(bytes, 0, bytes.length);
    }
    if (this.#unsent.length === 0 && this.#input.length > 0) {
      const bytes = this.#input;
      this.#input = NOTHING;
      this.#consume(bytes, 0, bytes.length);
    } else if (this.session !== undefined) this.#context.tunnel.wake(this.session);
    this.#update();
  }

  // ---- the stream's events ----

  answered(code: number): void {
    this.#unheard.drop();
    if (code === OpenedCode.ok) return;
    this.#context.counters.targetsRefused++;
    this.#context.streams.forget(this);
    this.#fail(httpStatusOf(code));
  }

  data(bytes: Uint8Array, from: number, length: number): number {
    const response = this.#response;
    if (this.#isOver || response === undefined) return 0;
    this.#context.loop.post(this);
    let at = from;
    const end = from + length;
    while (at < end) {
      const { state } = response;
      // What an origin says behind its answer is nobody's.
      if (state === "done") return length;
      if (state === "failed") {
        this.#badGateway();
        return 0;
      }
      if (state === "head") at += response.feed(bytes, at, end - at);
      else if (!this.#makeRoom()) break;
      else if (state === "head-ready") this.#takeHead(response);
      else at += this.#takeBody(response, bytes, at, end - at);
    }
    return this.#isOver ? 0 : at - from;
  }

  ended(): void {
    this.#streamEnded = true;
    const response = this.#response;
    if (this.#isOver || response === undefined) return;
    if (response.end()) this.#context.loop.post(this);
    else this.#badGateway();
  }

  wasReset(_code: number): void {
    this.#context.streams.forget(this);
    this.#broken();
  }

  lost(isUnheard: boolean): void {
    if (!isUnheard || this.#unheard.isGone || this.#isOver) return this.#broken();
    this.#unsent = NOTHING;
    this.#context.loop.disarm(this);
    this.#context.reopening.add(this);
  }

  /** The stream is no more: bad, unless it had said everything. */
  #broken(): void {
    this.#streamEnded = true;
    if (this.#response?.state === "done") this.#context.loop.post(this);
    else this.#badGateway();
  }

  writable(): void {
    if (this.#waitsForRoom || this.#unsent.length > 0) this.#goOn();
  }

  // ---- stream → client ----

  #takeHead(response: HttpResponse): void {
    this.#outEnd += response.drain(this.#out, this.#outEnd, OUT_BYTES - this.#outEnd);
  }

  #takeBody(response: HttpResponse, bytes: Uint8Array, at: number, length: number): number {
    const count = response.body(bytes, at, Math.min(length, OUT_BYTES - this.#outEnd));
    copyBytes(this.#out, this.#outEnd, bytes, at, count);
    this.#outEnd += count;
    return count;
  }

  /** Whether there is room in the out buffer. */
  #makeRoom(): boolean {
    if (this.#out.length === 0) this.#out = new Uint8Array(OUT_BYTES);
    if (this.#outEnd === OUT_BYTES) this.#writeOut();
    return this.#outEnd < OUT_BYTES && !this.#isOver;
  }

  /** Writes what there is; the buffer is empty afterwards, or the socket is full. */
  #writeOut(): void {
    const length = this.#outEnd - this.#outAt;
    if (length > 0 && !this.#isBlocked) {
      const taken = this.#socket.write(this.#out, this.#outAt, length);
      if (taken < 0 && taken !== tcpAgain) return this.#cut();
      if (taken < length) this.#isBlocked = true;
      this.#outAt += Math.max(0, taken);
      this.#context.splicer.counters.bytesUp += Math.max(0, taken);
    }
    if (this.#outAt < this.#outEnd) return;
    this.#outAt = this.#outEnd = 0;
  }

  /** Writes out, lets the stream go on, and ends the exchange when all has gone. */
  #flush(): void {
    const response = this.#response;
    if (response === undefined) return;
    do {
      this.#writeOut();
      if (this.#isOver || this.#isBlocked) return;
      if (response.pending > 0 && this.#makeRoom()) this.#takeHead(response);
    } while (this.#outEnd > 0);
    // A head without a body is done with the last byte of it.
    if (response.state === "done") {
      if (this.#parser.state !== "body" || this.#streamEnded) this.#complete(response);
      return;
    }
    if (this.session === undefined || this.#streamEnded) return;
    this.session.resume(this.stream);
    this.#context.tunnel.wake(this.session);
  }

  #complete(response: HttpResponse): void {
    this.#endStream();
    this.#response = undefined;
    this.#out = NOTHING;
    const parser = this.#parser;
    if (!response.keepAlive || parser.state !== "complete" || !parser.keepAlive) {
      this.#letGo();
      new Linger(this.#context, this.#socket);
      return;
    }
    parser.next();
    this.#unsent = NOTHING;
    this.#goOn();
  }

  /** The response is whole: what the origin does after it concerns nobody. */
  #endStream(): void {
    const { session, stream } = this;
    this.#context.streams.forget(this);
    if (session === undefined) return;
    session.finish(stream);
    this.#context.tunnel.wake(session);
    if (!this.#streamEnded) new Leftover(this.#context, session, stream);
  }

  // ---- failures ----

  #badGateway(): void {
    this.#fail(BAD_GATEWAY);
  }

  /** Says why, where nothing else was said for this request; else all that is left is a cut. */
  #fail(status: number): void {
    if (this.#isOver) return;
    if (this.#response?.isStarted) return this.#cut();
    if (this.#parser.state === "failed") return this.#cut();
    this.#parser.refuse(status);
    this.#sayFailure();
  }

  #sayFailure(): void {
    if (this.#parser.state === "failed" && this.session === undefined) {
      this.#context.counters.requestsRefused += this.#response === undefined ? 1 : 0;
    }
    this.#letGo();
    if (this.#context.reply(this.#socket, this.#parser)) new Linger(this.#context, this.#socket);
    else this.#socket.abort();
  }

  /** Resets both sides. */
  #cut(): void {
    if (this.#isOver) return;
    this.#letGo();
    this.#socket.abort();
  }

  /** The socket is free for who comes next; a stream that is left is reset. */
  #letGo(): void {
    this.#isOver = true;
    this.#unheard.drop();
    const { live, loop, streams, tunnel } = this.#context;
    live.delete(this);
    loop.disarm(this);
    loop.unwatch(this.#tag, this.#socket.fd);
    const { session, stream } = this;
    if (session === undefined) return;
    streams.forget(this);
    session.reset(stream, RstCode.cancelled);
    tunnel.wake(session);
  }

  #handOver(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    this.#letGo();
    this.#onConnect(bytes, at, length);
  }

  abort(): void {
    this.#cut();
  }

  /** Asks epoll for what is of use now. */
  #update(): void {
    if (this.#isOver) return;
    const events = (this.#room() > 0 ? EpollEvent.in : 0) | (this.#isBlocked ? EpollEvent.out : 0);
    if (events === this.#events) return;
    this.#events = events;
    this.#context.loop.change(this.#tag, this.#socket.fd, events);
  }
}

/**
 * A stream whose exchange is over, until the origin closes: it may still be taking the request's
 * body, so it is not reset at once.
 */
class Leftover implements StreamUser, Timer {
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
