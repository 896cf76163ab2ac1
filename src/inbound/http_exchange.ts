/** One request of a plain HTTP proxy and its response, on a stream of their own. */

import type { HttpInbound } from "../proxy/http_inbound.ts";
import { HttpResponse } from "../proxy/http_response.ts";
import { Outcome } from "../proxy/outcome.ts";
import type { Session } from "../session/session.ts";
import { OpenedCode, RstCode } from "../wire/frames.ts";
import type { InboundContext, StreamUser } from "./context.ts";
import { Leftover } from "./leftover.ts";
import type { ResponseBuffer } from "./response_buffer.ts";
import { type Reopener, Said } from "./said.ts";

/** Whose request it is. */
export interface ExchangeOwner {
  /** The stream gave something, or ended: to be seen to at the end of the round. */
  gave(): void;
  /** More of the request can be said. */
  goOn(): void;
  /** It came to nothing: an Outcome for the client, where it has heard nothing yet. */
  failed(outcome: number): void;
  /** The client's socket is broken. */
  broken(): void;
}

export class HttpExchange implements StreamUser, Reopener {
  session: Session | undefined;
  stream = -1;
  readonly #context: InboundContext;
  readonly #owner: ExchangeOwner;
  readonly #parser: HttpInbound;
  readonly #out: ResponseBuffer;
  readonly #said: Said;
  readonly #response: HttpResponse;
  /** The session is asked to tell of room. */
  #waitsForRoom = false;
  #retries = false;
  #streamEnded = false;
  #isOver = false;

  /** For the request that the parser has read. */
  constructor(
    context: InboundContext,
    owner: ExchangeOwner,
    parser: HttpInbound,
    out: ResponseBuffer,
  ) {
    this.#context = context;
    this.#owner = owner;
    this.#parser = parser;
    this.#out = out;
    this.#said = new Said(context.splicer);
    this.#response = new HttpResponse(parser);
  }

  /** Opens the stream and says the request's head; false: the session takes no more streams. */
  begin(): boolean {
    if (!this.#open()) return false;
    const head = new Uint8Array(this.#parser.requestPending);
    this.#parser.drainRequest(head, 0, head.length);
    // The body goes with it, before anybody knows whether the target is there.
    this.#parser.accept();
    this.say(head, 0, head.length);
    return true;
  }

  #open(): boolean {
    const { target } = this.#parser;
    const address = new Uint8Array(target.socksLength);
    target.writeSocks(address, 0);
    if (this.#context.streams.open(this, address)) return true;
    this.#context.counters.streamsRefused++;
    return false;
  }

  // ---- the request ----

  /** Whether something that was said waits for the session to take it. */
  get hasRest(): boolean {
    return this.#said.hasRest;
  }

  /** Bytes of the body that may be said now. */
  room(): number {
    const { session, stream } = this;
    if (session === undefined || this.#said.hasRest) return 0;
    const room = session.room(stream);
    if (room > 0) return room;
    this.#waitsForRoom = true;
    // Takes nothing, and has the session tell of room.
    session.write(stream, this.#context.arena, 0, 1);
    return 0;
  }

  say(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    if (length === 0 || this.session === undefined) return;
    this.#said.say(this.session, this.stream, bytes, at, length);
    if (this.#said.hasRest) this.#retryLater();
  }

  wake(): void {
    if (this.session !== undefined) this.#context.tunnel.wake(this.session);
  }

  /** The session had no memory, and may never say that it has. */
  #retryLater(): void {
    if (this.#retries) return;
    this.#retries = true;
    this.#context.splicer.retryLater(this);
  }

  retry(): void {
    this.#retries = false;
    if (!this.#isOver && this.#said.hasRest) this.#goOn();
  }

  #goOn(): void {
    this.#waitsForRoom = false;
    const { session } = this;
    if (session !== undefined && !this.#said.sayRest(session, this.stream)) this.#retryLater();
    this.wake();
    this.#owner.goOn();
  }

  /** In the next session, as if nothing had been. */
  reopen(): void {
    if (this.#isOver) return;
    if (!this.#open()) return this.#owner.failed(Outcome.tooManyStreams);
    this.#context.counters.reopened++;
    this.#said.repeat(this.session!, this.stream);
    if (this.#said.hasRest) this.#retryLater();
    this.wake();
    this.#owner.goOn();
  }

  // ---- the response ----

  get isStarted(): boolean {
    return this.#response.isStarted;
  }

  get isDone(): boolean {
    return this.#response.state === "done";
  }

  get keepAlive(): boolean {
    return this.#response.keepAlive;
  }

  get streamEnded(): boolean {
    return this.#streamEnded;
  }

  /** Writes what there is of the response; whether all of it went. */
  writeOut(): boolean {
    const out = this.#out;
    do {
      out.write();
      if (out.isBroken || out.isBlocked) return false;
      if (this.#response.pending > 0 && out.makeRoom()) out.takeHead(this.#response);
    } while (!out.isEmpty);
    return true;
  }

  /** There is room for more of the response. */
  resume(): void {
    if (this.session === undefined || this.#streamEnded) return;
    this.session.resume(this.stream);
    this.wake();
  }

  // ---- the stream's events ----

  answered(code: number): void {
    this.#said.wasHeard();
    if (code === OpenedCode.ok) return;
    this.#context.counters.targetsRefused++;
    this.#context.streams.forget(this);
    this.#owner.failed(code);
  }

  data(bytes: Uint8Array, from: number, length: number): number {
    if (this.#isOver) return 0;
    const response = this.#response;
    const out = this.#out;
    this.#owner.gave();
    let at = from;
    const end = from + length;
    while (at < end) {
      const { state } = response;
      // What an origin says behind its answer is nobody's.
      if (state === "done") return length;
      if (state === "failed") {
        this.#owner.failed(Outcome.badAnswer);
        return 0;
      }
      if (state === "head") at += response.feed(bytes, at, end - at);
      else if (!out.makeRoom()) break;
      else if (state === "head-ready") out.takeHead(response);
      else at += out.takeBody(response, bytes, at, end - at);
    }
    if (!out.isBroken) return at - from;
    this.#owner.broken();
    return 0;
  }

  ended(): void {
    this.#streamEnded = true;
    if (this.#isOver) return;
    if (this.#response.end()) this.#owner.gave();
    else this.#owner.failed(Outcome.badAnswer);
  }

  wasReset(_code: number): void {
    this.#context.streams.forget(this);
    this.#broken(Outcome.brokenOff);
  }

  lost(isUnheard: boolean): void {
    if (!isUnheard || !this.#said.canRepeat || this.#isOver) {
      return this.#broken(Outcome.tunnelDown);
    }
    this.#said.dropRest();
    this.#context.reopening.add(this);
  }

  /** The stream is no more: bad, unless it had said everything. */
  #broken(outcome: number): void {
    this.#streamEnded = true;
    if (this.isDone) this.#owner.gave();
    else this.#owner.failed(outcome);
  }

  writable(): void {
    if (this.#waitsForRoom || this.#said.hasRest) this.#goOn();
  }

  // ---- the end ----

  /** The response is whole: what the origin does after it concerns nobody. */
  finish(): void {
    const { session, stream } = this;
    this.#close();
    if (session === undefined) return;
    session.finish(stream);
    this.#context.tunnel.wake(session);
    if (!this.#streamEnded) new Leftover(this.#context, session, stream);
  }

  /** Nobody wants the response. */
  abort(): void {
    const { session, stream } = this;
    this.#close();
    if (session === undefined) return;
    session.reset(stream, RstCode.cancelled);
    this.#context.tunnel.wake(session);
  }

  #close(): void {
    this.#isOver = true;
    this.#said.drop();
    this.#context.streams.forget(this);
  }
}
