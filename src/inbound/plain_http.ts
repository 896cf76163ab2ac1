/**
 * Plain HTTP proxying: the client's connection stays, each request gets a stream of its own.
 *
 *     client → HttpInbound → stream         head rewritten, body as it is
 *     stream → HttpResponse → buffer → client
 *
 * One request at a time (HttpExchange): what the client sends behind it waits.
 */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain } from "../../ffi/tcp.ts";
import type { HttpInbound } from "../proxy/http_inbound.ts";
import { Outcome } from "../proxy/outcome.ts";
import { GREETING_MS, type InboundContext } from "./context.ts";
import { type ExchangeOwner, HttpExchange } from "./http_exchange.ts";
import { Linger } from "./linger.ts";
import type { Holder, LocalConnection } from "./local_connection.ts";
import { ResponseBuffer } from "./response_buffer.ts";
import { NOT_ARMED, type Task, type Timer } from "../loop/loop.ts";

const BROKEN = EpollEvent.error | EpollEvent.hangUp;
const NOTHING = new Uint8Array(0);

type OnConnect = (bytes: Uint8Array<ArrayBuffer>, at: number, length: number) => void;

export class PlainHttp implements ExchangeOwner, Holder, Timer, Task {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  isPosted = false;
  readonly #context: InboundContext;
  readonly #connection: LocalConnection;
  readonly #parser: HttpInbound;
  readonly #onConnect: OnConnect;
  readonly #out: ResponseBuffer;
  #isOver = false;
  /** Read, and not for the request at hand. */
  #input: Uint8Array<ArrayBuffer> = NOTHING;
  /** The request at hand. */
  #exchange: HttpExchange | undefined;

  /**
   * Takes over a connection whose parser is ready; `onConnect` gets both when the client changes to
   * CONNECT, with bytes that it sent behind that.
   */
  constructor(
    context: InboundContext,
    connection: LocalConnection,
    parser: HttpInbound,
    onConnect: OnConnect,
  ) {
    this.#context = context;
    this.#connection = connection;
    this.#parser = parser;
    this.#onConnect = onConnect;
    this.#out = new ResponseBuffer(connection.socket, context.splicer.counters);
    connection.hold(this);
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
      this.#out.isBlocked = false;
      this.#flush();
    }
    if (!this.#isOver && (events & EpollEvent.in) !== 0) this.#read();
    this.#update();
  }

  /** A head that has begun did not end in time. */
  fire(): void {
    this.#context.counters.greetingsTimedOut++;
    this.#cut();
  }

  /** The end of a round in which the stream gave something. */
  runTask(): void {
    if (this.#isOver) return;
    this.#flush();
    this.#update();
  }

  /** Asks epoll for what is of use now. */
  #update(): void {
    if (this.#isOver) return;
    const reads = this.#room() > 0 ? EpollEvent.in : 0;
    this.#connection.watch(reads | (this.#out.isBlocked ? EpollEvent.out : 0));
  }

  // ---- client → stream ----

  #read(): void {
    const { arena, splicer: { readArena } } = this.#context;
    // What may come behind a head has to be kept, so that it is not much; a body passes on.
    const into = this.#parser.state === "body" ? readArena : arena;
    const room = Math.min(into.length, this.#room());
    if (room <= 0) return;
    const count = this.#connection.socket.read(into, 0, room);
    if (count === tcpAgain) return;
    // An end amidst a request is a failure; between two it is the client's good right.
    if (count <= 0) return this.#cut();
    this.#consume(into, 0, count);
  }

  /** Bytes that may be read of the client now. */
  #room(): number {
    if (this.#input.length > 0 || this.#exchange?.hasRest) return 0;
    const { state } = this.#parser;
    if (state === "head") return this.#context.arena.length;
    return state === "body" ? this.#exchange?.room() ?? 0 : 0;
  }

  /** Parses what the client sent, as far as it is this request's. */
  #consume(bytes: Uint8Array<ArrayBuffer>, from: number, length: number): void {
    const end = from + length;
    let at = from;
    while (at < end && !this.#isOver) {
      const { state } = this.#parser;
      if (this.#exchange?.hasRest) break;
      if (state === "head") {
        at += this.#parser.feed(bytes, at, end - at);
        if (this.#parser.state === "ready") {
          if (this.#parser.isConnect) return this.#handOver(bytes, at, end - at);
          this.#request();
        } else if (this.#parser.state === "failed") this.#sayFailure();
      } else if (state === "body") {
        const count = this.#parser.body(bytes, at, end - at);
        if (this.#parser.state === "failed") return this.#cut();
        this.#exchange?.say(bytes, at, count);
        at += count;
      } else break;
    }
    if (at < end && !this.#isOver) this.#input = bytes.slice(at, end);
    this.#armForHead();
    // The answer may have come before the request was whole.
    if (this.#exchange?.isDone) this.gave();
    this.#exchange?.wake();
  }

  /** A head that has begun has to end in time. */
  #armForHead(): void {
    if (this.#isOver) return;
    const { loop } = this.#context;
    if (this.#parser.state !== "head" || this.#parser.isIdle) loop.disarm(this);
    else if (this.heapIndex === NOT_ARMED) loop.arm(this, loop.now + GREETING_MS);
  }

  #request(): void {
    const exchange = new HttpExchange(this.#context, this, this.#parser, this.#out);
    if (exchange.begin()) this.#exchange = exchange;
    else this.failed(Outcome.tooManyStreams);
  }

  // ---- what the exchange says ----

  gave(): void {
    this.#context.loop.post(this);
  }

  goOn(): void {
    if (this.#isOver) return;
    if (this.#input.length > 0 && !this.#exchange?.hasRest) {
      const bytes = this.#input;
      this.#input = NOTHING;
      this.#consume(bytes, 0, bytes.length);
    }
    this.#update();
  }

  /** Says why, where nothing else was said for this request; else all that is left is a cut. */
  failed(outcome: number): void {
    if (this.#isOver) return;
    if (this.#exchange?.isStarted || this.#parser.state === "failed") return this.#cut();
    const more = this.#context.targetFailed(this.#parser.target, outcome);
    this.#parser.refuse(outcome, more);
    this.#sayFailure();
  }

  broken(): void {
    this.#cut();
  }

  // ---- stream → client ----

  /** Writes out, lets the stream go on, and ends the exchange when all has gone. */
  #flush(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    if (!exchange.writeOut()) return this.#out.isBroken ? this.#cut() : undefined;
    // A head without a body is done with the last byte of it.
    if (!exchange.isDone) return exchange.resume();
    if (this.#parser.state !== "body" || exchange.streamEnded) this.#complete(exchange);
  }

  #complete(exchange: HttpExchange): void {
    exchange.finish();
    this.#exchange = undefined;
    this.#out.release();
    const parser = this.#parser;
    if (!exchange.keepAlive || parser.state !== "complete" || !parser.keepAlive) {
      this.#letGo();
      new Linger(this.#context, this.#connection);
      return;
    }
    parser.next();
    this.goOn();
  }

  // ---- the end ----

  #sayFailure(): void {
    if (this.#parser.state === "failed" && this.#exchange === undefined) {
      this.#context.counters.requestsRefused++;
    }
    this.#letGo();
    const connection = this.#connection;
    if (this.#context.reply(connection.socket, this.#parser)) {
      new Linger(this.#context, connection);
    } else connection.reset();
  }

  /** Resets both sides. */
  #cut(): void {
    if (this.#isOver) return;
    this.#letGo();
    this.#connection.reset();
  }

  /** The connection is free for who comes next; a stream that is left is reset. */
  #letGo(): void {
    this.#isOver = true;
    this.#context.loop.disarm(this);
    this.#exchange?.abort();
  }

  #handOver(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    this.#letGo();
    this.#onConnect(bytes, at, length);
  }

  abort(): void {
    this.#cut();
  }
}
