/** A local connection until its request is known: SOCKS5 or HTTP, by its first byte. */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import type { Credentials } from "../proxy/credentials.ts";
import { HttpInbound } from "../proxy/http_inbound.ts";
import { detectInbound } from "../proxy/inbound_detect.ts";
import { httpStatusOf, SocksReply, socksReplyOf } from "../proxy/outcome.ts";
import { Socks5Inbound, SocksCommand } from "../proxy/socks5_inbound.ts";
import { Target } from "../proxy/target.ts";
import { type Answerer, Connect } from "./connect.ts";
import { HANDSHAKE_MS, type InboundContext, type Live } from "./context.ts";
import { PlainHttp } from "./plain_http.ts";
import { Linger } from "./linger.ts";
import { SocksUdp } from "./socks_udp.ts";
import { NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";

/** What an inbound lets in. */
export interface GreetingOptions {
  readonly kind: "mixed" | "socks5" | "http";
  readonly credentials?: Credentials;
}

/** CONNECT of SOCKS5. */
class SocksAnswerer implements Answerer {
  readonly #parser: Socks5Inbound;

  constructor(parser: Socks5Inbound) {
    this.#parser = parser;
  }

  get pending(): number {
    return this.#parser.pending;
  }

  drain(out: Uint8Array, at: number, room: number): number {
    return this.#parser.drain(out, at, room);
  }

  /** A server that tells no address, or a name, gives zeros, as other proxies do. */
  accept(bytes: Uint8Array, at: number, length: number): void {
    const bound = new Target();
    if (bound.readSocks(bytes, at, length) <= 0 || bound.isDomain) this.#parser.accept();
    else this.#parser.accept(bound.ip, bound.port);
  }

  refuse(code: number): void {
    this.#parser.refuse(socksReplyOf(code));
  }
}

/** CONNECT of HTTP. */
export class HttpAnswerer implements Answerer {
  readonly #parser: HttpInbound;

  constructor(parser: HttpInbound) {
    this.#parser = parser;
  }

  get pending(): number {
    return this.#parser.pending;
  }

  drain(out: Uint8Array, at: number, room: number): number {
    return this.#parser.drain(out, at, room);
  }

  accept(): void {
    this.#parser.accept();
  }

  refuse(code: number): void {
    this.#parser.refuse(httpStatusOf(code));
  }
}

export class Greeting implements Watcher, Timer, Live {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #options: GreetingOptions;
  readonly #socket: TcpSocket;
  readonly #tag: number;
  #socks: Socks5Inbound | undefined;
  #http: HttpInbound | undefined;

  constructor(context: InboundContext, socket: TcpSocket, options: GreetingOptions) {
    this.#context = context;
    this.#options = options;
    this.#socket = socket;
    const { loop } = context;
    this.#tag = loop.watch(socket.fd, EpollEvent.in | EpollEvent.readHangUp, this);
    loop.arm(this, loop.now + HANDSHAKE_MS);
    context.live.add(this);
  }

  ready(): void {
    const { arena } = this.#context;
    const count = this.#socket.read(arena, 0, arena.length);
    if (count === tcpAgain) return;
    if (count <= 0) return this.abort();
    if (this.#socks === undefined && this.#http === undefined && !this.#detect(arena[0]!)) {
      this.#context.counters.requestsRefused++;
      return this.abort();
    }
    if (this.#socks !== undefined) this.#feedSocks(this.#socks, arena, count);
    else this.#feedHttp(this.#http!, arena, count);
  }

  fire(): void {
    this.#context.counters.handshakesTimedOut++;
    this.abort();
  }

  abort(): void {
    if (this.#letGo()) this.#socket.close();
  }

  /** The socket is free for who comes next. */
  #letGo(): boolean {
    if (!this.#context.live.delete(this)) return false;
    const { loop } = this.#context;
    loop.disarm(this);
    loop.unwatch(this.#tag, this.#socket.fd);
    return true;
  }

  #detect(first: number): boolean {
    const { kind, credentials } = this.#options;
    const found = detectInbound(first);
    if (found === "unknown" || (kind !== "mixed" && kind !== found)) return false;
    const options = credentials === undefined ? {} : { credentials };
    if (found === "socks5") this.#socks = new Socks5Inbound(options);
    else this.#http = new HttpInbound(options);
    return true;
  }

  #feedSocks(parser: Socks5Inbound, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const used = parser.feed(bytes, 0, length);
    if (!this.#context.reply(this.#socket, parser)) return this.abort();
    if (parser.state === "failed") return this.#fail();
    if (parser.state !== "ready") return;
    this.#letGo();
    if (parser.command === SocksCommand.UDP_ASSOCIATE) {
      if (SocksUdp.start(this.#context, this.#socket, parser)) return;
      parser.refuse(SocksReply.FAILURE);
      return this.#refused(parser);
    }
    const connect = new Connect(this.#context, this.#socket, new SocksAnswerer(parser));
    connect.begin(addressOf(parser.target), bytes, used, length - used);
  }

  #feedHttp(parser: HttpInbound, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const used = parser.feed(bytes, 0, length);
    if (parser.state === "failed") {
      if (this.#context.reply(this.#socket, parser)) this.#fail();
      else this.abort();
    } else if (parser.state === "ready") {
      this.#letGo();
      startHttp(this.#context, this.#socket, parser, bytes, used, length - used);
    }
  }

  /** What was said last is to reach the client. */
  #fail(): void {
    this.#context.counters.requestsRefused++;
    if (this.#letGo()) new Linger(this.#context, this.#socket);
  }

  #refused(parser: Socks5Inbound): void {
    if (this.#context.reply(this.#socket, parser)) new Linger(this.#context, this.#socket);
    else this.#socket.abort();
  }
}

/** Serves a request that is ready; `bytes` are what the client sent behind its head. */
function startHttp(
  context: InboundContext,
  socket: TcpSocket,
  parser: HttpInbound,
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  length: number,
): void {
  if (parser.isConnect) {
    const connect = new Connect(context, socket, new HttpAnswerer(parser));
    connect.begin(addressOf(parser.target), bytes, at, length);
    return;
  }
  // A CONNECT may follow plain requests on the same connection.
  const onConnect = (rest: Uint8Array<ArrayBuffer>, from: number, count: number): void =>
    startHttp(context, socket, parser, rest, from, count);
  new PlainHttp(context, socket, parser, onConnect).begin(bytes, at, length);
}

export function addressOf(target: Target): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(target.socksLength);
  target.writeSocks(bytes, 0);
  return bytes;
}
