/**
 * UDP ASSOCIATE of SOCKS5: a socket for one client, as long as its TCP connection lives.
 *
 * The address in a datagram's header is the one of the DATAGRAM frame, so both ways it is copied.
 */

import { endpoint, endpointWords, type Route, writeEndpoint } from "../../ffi/endpoint.ts";
import { SysError } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain } from "../../ffi/tcp.ts";
import { UdpSocket } from "../../ffi/udp.ts";
import type { Socks5Inbound } from "../proxy/socks5_inbound.ts";
import { UDP_PREFIX_BYTES, UdpHeaderReader, writeUdpHeader } from "../proxy/socks5_udp.ts";
import type { Target } from "../proxy/target.ts";
import type { Session } from "../session/session.ts";
import { type AssociationUser, emptyRoute, UDP_BATCHES_A_ROUND } from "./associations.ts";
import type { InboundContext } from "./context.ts";
import type { LocalConnection } from "./local_connection.ts";
import type { Watcher } from "../loop/loop.ts";

const IP_WORDS = 4;
const PORT_WORD = 4;
const NO_IP = new Uint8Array(16);
const NO_IPV4 = NO_IP.with(10, 0xff).with(11, 0xff);

export class SocksUdp implements AssociationUser, Watcher {
  session: Session | undefined;
  association = -1;
  readonly #context: InboundContext;
  /** Its end is the association's. */
  readonly #control: LocalConnection;
  readonly #socket: UdpSocket;
  readonly #tag: number;
  readonly #header = new UdpHeaderReader();
  readonly #client = new Uint32Array(endpointWords);
  /** To the client's port, which its first datagram tells. */
  readonly #route: Route = emptyRoute();
  #hasRoute = false;
  #isOver = false;

  /**
   * Answers a request that is ready and takes over its connection. False:
   * it can't be had, and everything is as before.
   */
  static start(context: InboundContext, control: LocalConnection, parser: Socks5Inbound): boolean {
    if (!context.associations.admit()) return false;
    let socket: UdpSocket | undefined;
    try {
      // Where the client reaches us by TCP it does by UDP.
      const { ip, scope } = control.socket.local();
      socket = new UdpSocket(context.native, { local: endpoint(ip, 0, scope), isSpared: true });
      const user = new SocksUdp(context, control, socket, parser.target);
      parser.accept(ip, socket.local.port);
      if (!context.reply(control.socket, parser)) user.abort();
      return true;
    } catch (error) {
      // No descriptor or port can be had, mostly: the client is refused.
      if (!(error instanceof SysError)) context.fault(error);
      socket?.close();
      context.counters.associationsRefused++;
      context.associations.release({ session: undefined, association: -1, datagram: () => {} });
      return false;
    }
  }

  private constructor(
    context: InboundContext,
    control: LocalConnection,
    socket: UdpSocket,
    stated: Target,
  ) {
    this.#context = context;
    this.#control = control;
    this.#socket = socket;
    writeEndpoint(this.#client, 0, control.socket.peer);
    this.#client[PORT_WORD] = statedPort(stated, control.socket.peer.ip);
    this.#tag = context.loop.watch(socket.fd, EpollEvent.in, this);
    control.hold({ ready: () => this.#readControl(), abort: () => this.abort() });
    control.watch(EpollEvent.in | EpollEvent.readHangUp);
  }

  /** Datagrams of the client. */
  ready(): void {
    try {
      this.#receiveAll();
    } catch (error) {
      this.#context.fault(error);
      this.abort();
    }
  }

  #receiveAll(): void {
    const { inbox } = this.#context.associations;
    for (let batch = 0; batch < UDP_BATCHES_A_ROUND && !this.#isOver; batch++) {
      const count = this.#socket.receive(inbox);
      if (count === 0) break;
      for (let i = 0; i < count; i++) this.#receive(i);
    }
    this.#context.associations.wake(this);
  }

  #receive(i: number): void {
    const { associations, counters } = this.#context;
    const { inbox } = associations;
    const header = this.#header;
    if (inbox.isTruncated(i) || !this.#isClient(i)) {
      counters.datagramsDropped++;
      const cause = "it is from another address or port than the client's, or too long";
      return this.#context.onRefused("a SOCKS5 datagram is dropped", cause);
    }
    const { fragments } = header;
    if (!header.read(inbox.arena, inbox.offset(i), inbox.length(i))) {
      const isFragment = header.fragments > fragments;
      if (isFragment) counters.fragments++;
      else counters.datagramsDropped++;
      const cause = isFragment ? "it is a fragment, which is not supported" : "its header is wrong";
      this.#context.onRefused("a SOCKS5 datagram is dropped", cause);
      return;
    }
    const { addressAt, addressLength, dataAt, dataLength } = header;
    const { arena } = inbox;
    associations.send(this, arena, addressAt, addressLength, arena, dataAt, dataLength);
  }

  /**
   * Whether it comes from the client: from the port that it stated, or where it stated none from
   * the one that its first datagram comes from.
   */
  #isClient(i: number): boolean {
    const { inbox } = this.#context.associations;
    if (this.#hasRoute) return inbox.isRoute(i, this.#route);
    inbox.copyRoute(i, this.#route);
    for (let word = 0; word < IP_WORDS; word++) {
      if (this.#route[word] !== this.#client[word]) return false;
    }
    const port = this.#client[PORT_WORD]!;
    if (port !== 0 && port !== (this.#route[PORT_WORD]! & 0xffff)) return false;
    this.#hasRoute = true;
    return true;
  }

  datagram(
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    if (!this.#hasRoute || this.#isOver) return;
    const { sender } = this.#context.associations;
    const to = sender.reserve(this.#socket, UDP_PREFIX_BYTES + addressLength + length);
    const head = writeUdpHeader(sender.arena, to, bytes, addressAt, addressLength);
    sender.copy(to + head, bytes, at, length);
    sender.commit(this.#route, head + length);
  }

  /** Nothing is said there any more. */
  #readControl(): void {
    const { arena } = this.#context;
    const count = this.#control.socket.read(arena, 0, arena.length);
    if (count <= 0 && count !== tcpAgain) this.abort();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { associations, loop } = this.#context;
    associations.sender.flush();
    associations.release(this);
    loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
    this.#control.close();
  }
}

/**
 * The port that the client's datagrams will come from; 0: any. What it says of an address that is
 * not the one it speaks from was true in front of a NAT.
 */
function statedPort({ ip, port, isDomain }: Target, peer: Uint8Array): number {
  if (isDomain) return 0;
  const isIts = [NO_IP, NO_IPV4, peer].some((one) => one.every((byte, i) => byte === ip[i]));
  return isIts ? port : 0;
}
