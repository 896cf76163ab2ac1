/** A local connection until its request is known: SOCKS5 or HTTP, by its first byte. */

import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain } from "../../ffi/tcp.ts";
import type { Credentials } from "../proxy/credentials.ts";
import { HttpInbound } from "../proxy/http_inbound.ts";
import { detectInbound } from "../proxy/inbound_detect.ts";
import { SocksReply, socksReplyOf } from "../proxy/outcome.ts";
import { Socks5Inbound, SocksCommand } from "../proxy/socks5_inbound.ts";
import { Target } from "../proxy/target.ts";
import { type Answerer, Connect } from "./connect.ts";
import { GREETING_MS, type InboundContext } from "./context.ts";
import type { Holder, LocalConnection } from "./local_connection.ts";
import { PlainHttp } from "./plain_http.ts";
import { Linger } from "./linger.ts";
import { SocksUdp } from "./socks_udp.ts";
import { NOT_ARMED, type Timer } from "../loop/loop.ts";

const SOCKS4_VERSION = 4;
/** SOCKS4: request rejected or failed. */
const SOCKS4_REJECTED = Uint8Array.of(0, 91, 0, 0, 0, 0, 0, 0);
const NAMES = { mixed: "SOCKS5 and HTTP", socks5: "SOCKS5", http: "HTTP" } as const;
const NO_ASSOCIATION = "there are too many associations, or there is no socket for one";

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

  refuse(code: number, more?: string): void {
    this.#parser.refuse(code, more);
  }
}

export class Greeting implements Holder, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #options: GreetingOptions;
  readonly #connection: LocalConnection;
  #socks: Socks5Inbound | undefined;
  #http: HttpInbound | undefined;

  constructor(context: InboundContext, connection: LocalConnection, options: GreetingOptions) {
    this.#context = context;
    this.#options = options;
    this.#connection = connection;
    connection.hold(this);
    connection.watch(EpollEvent.in | EpollEvent.readHangUp);
    context.loop.arm(this, context.loop.now + GREETING_MS);
    context.doorstep.add(connection.socket.peer, this);
  }

  ready(): void {
    const { arena } = this.#context;
    const count = this.#connection.socket.read(arena, 0, arena.length);
    if (count === tcpAgain) return;
    if (count <= 0) return this.abort();
    if (this.#socks === undefined && this.#http === undefined && !this.#detect(arena[0]!)) {
      this.#refuseUnknown(arena[0]!);
      return this.abort();
    }
    if (this.#socks !== undefined) this.#feedSocks(this.#socks, arena, count);
    else this.#feedHttp(this.#http!, arena, count);
  }

  fire(): void {
    this.#context.counters.greetingsTimedOut++;
    this.abort();
  }

  abort(): void {
    this.#letGo();
    this.#connection.close();
  }

  /** The connection is free for who comes next. */
  #letGo(): void {
    this.#context.loop.disarm(this);
    this.#context.doorstep.leave(this.#connection.socket.peer, this);
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

  /** Says what SOCKS4 has a word for; else there is only the log's. */
  #refuseUnknown(first: number): void {
    const context = this.#context;
    const { kind } = this.#options;
    context.counters.requestsRefused++;
    const isSocks4 = first === SOCKS4_VERSION;
    // No reply is wrong for who speaks something else.
    if (isSocks4) this.#connection.socket.write(SOCKS4_REJECTED, 0, SOCKS4_REJECTED.length);
    const found = detectInbound(first);
    const cause = isSocks4
      ? "SOCKS4 is not spoken here: set the program to SOCKS5"
      : found === "unknown"
      ? "it is neither SOCKS5 nor HTTP"
      : `it is ${NAMES[found]}, and this is the address of ${NAMES[kind]} alone`;
    context.onRefused("a connection to a proxy is refused", cause);
  }

  #feedSocks(parser: Socks5Inbound, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const used = parser.feed(bytes, 0, length);
    if (!this.#context.reply(this.#connection.socket, parser)) return this.abort();
    if (parser.state === "failed") return this.#fail(parser.fault);
    if (parser.state !== "ready") return;
    this.#letGo();
    if (parser.command === SocksCommand.UDP_ASSOCIATE) {
      if (SocksUdp.start(this.#context, this.#connection, parser)) return;
      this.#context.onRefused("a SOCKS5 UDP ASSOCIATE is refused", NO_ASSOCIATION);
      parser.refuse(SocksReply.FAILURE);
      return this.#refused(parser);
    }
    const connect = new Connect(this.#context, this.#connection, new SocksAnswerer(parser));
    connect.begin(addressOf(parser.target), bytes, used, length - used);
  }

  #feedHttp(parser: HttpInbound, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const used = parser.feed(bytes, 0, length);
    if (parser.state === "failed") {
      if (this.#context.reply(this.#connection.socket, parser)) this.#fail(parser.fault);
      else this.abort();
    } else if (parser.state === "ready") {
      this.#letGo();
      startHttp(this.#context, this.#connection, parser, bytes, used, length - used);
    }
  }

  /** What was said last is to reach the client. */
  #fail(fault: string): void {
    this.#context.onRefused("a request to a proxy is refused", fault);
    this.#context.counters.requestsRefused++;
    this.#letGo();
    new Linger(this.#context, this.#connection);
  }

  #refused(parser: Socks5Inbound): void {
    const connection = this.#connection;
    if (this.#context.reply(connection.socket, parser)) new Linger(this.#context, connection);
    else connection.reset();
  }
}

/** Serves a request that is ready; `bytes` are what the client sent behind its head. */
function startHttp(
  context: InboundContext,
  connection: LocalConnection,
  parser: HttpInbound,
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  length: number,
): void {
  if (parser.isConnect) {
    const connect = new Connect(context, connection, new HttpAnswerer(parser));
    connect.begin(addressOf(parser.target), bytes, at, length);
    return;
  }
  // A CONNECT may follow plain requests on the same connection.
  const onConnect = (rest: Uint8Array<ArrayBuffer>, from: number, count: number): void =>
    startHttp(context, connection, parser, rest, from, count);
  new PlainHttp(context, connection, parser, onConnect).begin(bytes, at, length);
}

export function addressOf(target: Target): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(target.socksLength);
  target.writeSocks(bytes, 0);
  return bytes;
}
