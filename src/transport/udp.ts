/** A UDP socket as a carrier, and AF_XDP beside it, which sends to whom it can reach. */

import { type Endpoint, endpointWords, readEndpoint, type Route } from "../../ffi/endpoint.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { UdpInbox, type UdpOptions, type UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import type { SentVisitor, XskPort } from "../../ffi/xsk.ts";
import { type Loop, NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import type { Carrier, CarrierHost, PacketSizes } from "./carrier.ts";

/** Receive calls in a round of the loop: a flood must not hold off timers and sending. */
const RECEIVES_A_ROUND = 4;
const SOCKET_BUFFER_BYTES = 8 << 20;
/** What ICMP says is read so far in a round. */
const ERRORS_A_ROUND = 64;
/** Frames that the kernel did not take at once are offered again after this. */
const KICK_MS = 1;

/** ICMP has said of a packet to `peer` that it did not get there; see UdpSocket.error. */
export type HearError = (error: number, peer: Endpoint, teller: Endpoint) => void;

export interface UdpCarrierOptions {
  /** @default {0} */
  readonly id?: number;
  readonly mtu: PacketSizes;
  /** Hears what ICMP says, which anybody who knows the ports can forge. */
  readonly onError?: HearError;
}

export class UdpCarrier implements Carrier, Watcher, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly id: number;
  readonly kind = "udp";
  readonly mtu: PacketSizes;
  readonly controls = "ours";
  readonly hasConnections = false;
  readonly #loop: Loop;
  readonly #host: CarrierHost;
  readonly #onError: HearError | undefined;
  readonly #inbox = new UdpInbox();
  #socket: UdpSocket | undefined;
  #tag = -1;
  /** The socket's buffer was full, and epoll has not said that it has room again. */
  #isBlocked = false;
  /** AF_XDP beside the socket, and whether it brought the batch that is being worked on. */
  #port: XskPort | undefined;
  #learning: XskPort | undefined;

  constructor(loop: Loop, host: CarrierHost, options: UdpCarrierOptions) {
    this.#loop = loop;
    this.#host = host;
    this.id = options.id ?? 0;
    this.mtu = options.mtu;
    this.#onError = options.onError;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  get #opened(): UdpSocket {
    if (this.#socket === undefined) throw new Error("Cannot use the UDP carrier as it is closed");
    return this.#socket;
  }

  /** As bound. */
  get local(): Endpoint {
    return this.#opened.local;
  }

  /** The descriptor of the socket, for programs that are put on it. */
  get fd(): number {
    return this.#opened.fd;
  }

  /** Bits of UdpFlag that the socket has. */
  get features(): number {
    return this.#opened.features;
  }

  /** Opens the socket, in place of an earlier one; what waits to be sent goes by the new one. */
  open(options: UdpOptions): void {
    const socket = new UdpSocket(this.#loop.native, {
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      dontFragment: true,
      errors: this.#onError !== undefined,
      ...options,
    });
    const wasBlocked = this.#isBlocked;
    this.close();
    this.#isBlocked = false;
    this.#socket = socket;
    this.#tag = this.#loop.watch(socket.fd, EpollEvent.in, this);
    if (wasBlocked) this.#host.writable(this);
  }

  close(): void {
    if (this.#socket === undefined) return;
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    this.#loop.disarm(this);
    this.#socket.close();
    this.#socket = undefined;
  }

  /** Has AF_XDP beside the socket from now on, or no more. */
  setPort(port: XskPort | undefined): void {
    this.#port = port;
  }

  /** What AF_XDP has sent since the last call: the kernel counts what the socket sends alone. */
  eachSent(visit: SentVisitor): void {
    this.#port?.eachSent(visit);
  }

  // ---- receiving ----

  ready(events: number): void {
    if ((events & EpollEvent.out) !== 0) this.#unblock();
    if ((events & EpollEvent.error) !== 0) this.#hearErrors();
    if ((events & ~EpollEvent.out) === 0) return;
    const inbox = this.#inbox;
    for (let i = 0; i < RECEIVES_A_ROUND; i++) {
      const socket = this.#socket;
      if (socket === undefined) return;
      const count = socket.receive(inbox);
      if (count === 0) return;
      const messages = inbox.message(count - 1) + 1;
      // The first carrier's routes are as the kernel tells them.
      if (this.id !== 0) inbox.mark(messages, this.id, socket.local.port);
      this.#host.take(this, inbox, count);
      // Not every slot was needed: that was all.
      if (messages < inbox.slots) return;
    }
  }

  /** Epoll goes on telling of errors that nobody has read. */
  #hearErrors(): void {
    const hear = this.#onError;
    const [peer, teller] = [new Uint32Array(endpointWords), new Uint32Array(endpointWords)];
    for (let i = 0; i < ERRORS_A_ROUND && hear !== undefined; i++) {
      const error = this.#socket?.error(peer, teller) ?? 0;
      if (error === 0) return;
      hear(error, readEndpoint(peer, 0), readEndpoint(teller, 0));
    }
  }

  /** AF_XDP has received so many datagrams. */
  takePort(count: number): void {
    const port = this.#port;
    if (port === undefined) return;
    this.#learning = port;
    try {
      this.#host.take(this, port.inbox, count);
    } finally {
      this.#learning = undefined;
    }
  }

  learn(message: number): void {
    this.#learning?.learn(message);
  }

  // ---- sending ----

  /** What AF_XDP took is no longer in the outbox. Where there is no socket, all waits for one. */
  send(outbox: UdpOutbox): number {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#isBlocked = true;
      return 0;
    }
    if (this.#port !== undefined) {
      this.#port.send(outbox);
      if (this.heapIndex === NOT_ARMED) this.fire(this.#loop.now);
      if (outbox.count === 0) return 0;
    }
    const sent = socket.send(outbox);
    if (sent < outbox.count && !this.#isBlocked) {
      this.#isBlocked = true;
      this.#loop.change(this.#tag, socket.fd, EpollEvent.in | EpollEvent.out);
    }
    return sent;
  }

  isBlocked(_route: Route): boolean {
    return this.#isBlocked;
  }

  #unblock(): void {
    const socket = this.#socket;
    if (!this.#isBlocked || socket === undefined) return;
    this.#isBlocked = false;
    this.#loop.change(this.#tag, socket.fd, EpollEvent.in);
    this.#host.writable(this);
  }

  /** AF_XDP may have frames that the kernel did not take at once. */
  fire(now: number): void {
    if (this.#port?.kick() === true) this.#loop.arm(this, now + KICK_MS);
  }
}
