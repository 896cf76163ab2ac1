/**
 * Connects to the first of a target's addresses that answers: sockets for HappyEyeballs. Where the
 * rules chose an upstream proxy, that is dialled, and told where to connect to.
 */

import { isShortOfDescriptors } from "../../ffi/descriptors.ts";
import { type Endpoint, endpoint } from "../../ffi/endpoint.ts";
import { errnoCode, SysError } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, tcpInProgress, TcpSocket } from "../../ffi/tcp.ts";
import type { Credential } from "../proxy/credentials.ts";
import { type EyeballsOptions, type Family, HappyEyeballs } from "../proxy/happy_eyeballs.ts";
import { CONNECT_TIMEOUT_MS, NO_ATTEMPT } from "../proxy/happy_eyeballs.ts";
import { HttpOutbound } from "../proxy/http_outbound.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import { OpenedCode } from "../wire/frames.ts";
import { Socks5Outbound } from "../proxy/socks5_outbound.ts";
import type { Target } from "../proxy/target.ts";
import { type Loop, NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import type { Turn } from "./turns.ts";

/** A target that keeps silent for so long is asked whether it is there. */
const KEEPALIVE_SECONDS = 120;
/** What an upstream proxy may say at a time. */
const NEGOTIATION_BYTES = 16 << 10;
const NOTHING = new Uint8Array(0);

/** An upstream proxy, by which targets are reached. */
export interface Upstream {
  readonly kind: "socks5" | "http";
  /** Its addresses. */
  readonly peers: readonly Endpoint[];
  readonly credential?: Credential;
  /** From where it is reached. */
  readonly origin?: Pick<DialOptions, "sources" | "device">;
}

export interface DialOptions extends EyeballsOptions {
  /** Addresses to come from; the one of the peer's family is used. */
  readonly sources?: readonly Endpoint[];
  /** Name of the only interface to use. */
  readonly device?: string;
}

export interface DialEvents {
  /** `early`: the first bytes of the stream, where an upstream sent them with its answer. */
  connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void;
  /** With a code of OPENED. */
  failed(code: number): void;
  /** There is no descriptor: whether another connection was ended to get one. */
  short?(): boolean;
}

/** One target's connecting. Says once how it went, and never before `start` or its turn. */
export class Dial implements Timer, Turn {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly #loop: Loop;
  readonly #options: DialOptions;
  readonly #events: DialEvents;
  #eyeballs!: HappyEyeballs<Endpoint>;
  readonly #attempts: (Attempt | undefined)[] = [];
  readonly #addresses: readonly Endpoint[];
  #deadline = Infinity;
  #upstream: Upstream | undefined;
  #target: Target | undefined;
  #negotiation: Negotiation | undefined;
  #isOver = false;

  constructor(
    loop: Loop,
    addresses: readonly Endpoint[],
    events: DialEvents,
    options: DialOptions = {},
  ) {
    this.#loop = loop;
    this.#addresses = addresses;
    this.#events = events;
    this.#options = options;
  }

  /** Has the addresses that are dialled taken for those of a proxy that leads to a target. */
  through(upstream: Upstream, target: Target): this {
    this.#upstream = upstream;
    this.#target = target;
    return this;
  }

  get hasBegun(): boolean {
    return this.#deadline < Infinity;
  }

  /** Begins; the time that it has runs from here. */
  start(): void {
    const { now } = this.#loop;
    this.#eyeballs = new HappyEyeballs(now, this.#options);
    this.#deadline = now + (this.#options.timeoutMs ?? CONNECT_TIMEOUT_MS);
    for (const family of [6, 4] as const) {
      this.#eyeballs.onResolved(now, family, this.#addresses.filter((one) => isOf(family, one)));
    }
    this.#advance();
  }

  takeTurn(): void {
    if (!this.#isOver) this.start();
  }

  /** Nobody waits for it any more: nothing is told. */
  abort(): void {
    this.#isOver = true;
    this.#loop.disarm(this);
    this.#negotiation?.abort();
    for (const attempt of this.#attempts) attempt?.close();
    this.#attempts.length = 0;
  }

  fire(): void {
    if (this.#negotiation !== undefined) this.#fail(OpenedCode.timedOut);
    else this.#advance();
  }

  /** An attempt's socket is writable: it has connected, or failed. */
  attemptEnded(index: number, result: number): void {
    const attempt = this.#attempts[index];
    if (attempt === undefined || this.#isOver) return;
    this.#attempts[index] = undefined;
    if (result === 0) {
      const socket = attempt.release();
      this.#eyeballs.onConnected(index);
      return this.#won(socket);
    }
    attempt.close();
    this.#eyeballs.onFailed(index, openedCodeOf(-result));
    this.#advance();
  }

  #advance(): void {
    if (this.#isOver) return;
    const { now } = this.#loop;
    for (;;) {
      const index = this.#eyeballs.next(now);
      if (index === NO_ATTEMPT) break;
      this.#attempt(index);
    }
    if (this.#eyeballs.state === "failed") return this.#fail(this.#eyeballs.code);
    this.#loop.arm(this, this.#eyeballs.nextTimeout());
  }

  #attempt(index: number): void {
    try {
      const socket = this.#connect(this.#eyeballs.addressOf(index));
      this.#attempts[index] = new Attempt(this.#loop, this, index, socket);
    } catch (error) {
      const errno = error instanceof SysError ? error.errno : 0;
      this.#eyeballs.onFailed(index, openedCodeOf(errno));
    }
  }

  #connect(peer: Endpoint): TcpSocket {
    try {
      return connect(this.#loop, peer, this.#options);
    } catch (error) {
      // Nobody is to give way to a second attempt.
      const isFirst = this.#attempts.every((one) => one === undefined);
      if (!isFirst || !isShortOfDescriptors(error) || !this.#events.short?.()) throw error;
      return connect(this.#loop, peer, this.#options);
    }
  }

  #won(socket: TcpSocket): void {
    for (const attempt of this.#attempts) attempt?.close();
    this.#attempts.length = 0;
    if (this.#upstream === undefined || this.#target === undefined) {
      return this.#connected(socket, NOTHING);
    }
    this.#loop.arm(this, this.#deadline);
    const driver = this.#upstream.kind === "socks5"
      ? new Socks5Outbound(this.#target, this.#upstream.credential)
      : new HttpOutbound(this.#target, this.#upstream.credential);
    this.#negotiation = new Negotiation(this.#loop, socket, driver, {
      connected: (one, early) => this.#connected(one, early),
      failed: (code) => this.#fail(code),
    });
    this.#negotiation.start();
  }

  #connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void {
    this.#isOver = true;
    // The socket is no longer ours to abort.
    this.#negotiation = undefined;
    this.#loop.disarm(this);
    this.#events.connected(socket, early);
  }

  #fail(code: number): void {
    if (this.#isOver) return;
    this.abort();
    this.#events.failed(code);
  }
}

/** One socket on its way. */
class Attempt implements Watcher {
  readonly #loop: Loop;
  readonly #dial: Dial;
  readonly #index: number;
  readonly #socket: TcpSocket;
  readonly #tag: number;

  constructor(loop: Loop, dial: Dial, index: number, socket: TcpSocket) {
    this.#loop = loop;
    this.#dial = dial;
    this.#index = index;
    this.#socket = socket;
    try {
      this.#tag = loop.watch(socket.fd, EpollEvent.out | EpollEvent.edgeTriggered, this);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  ready(): void {
    const result = this.#socket.result();
    if (result !== tcpInProgress) this.#dial.attemptEnded(this.#index, result);
  }

  /** The socket, no longer watched. */
  release(): TcpSocket {
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    return this.#socket;
  }

  close(): void {
    this.release().abort();
  }
}

/** Tells an upstream proxy where to, on a socket that has connected to it. */
class Negotiation implements Watcher {
  readonly #loop: Loop;
  readonly #socket: TcpSocket;
  readonly #driver: Socks5Outbound | HttpOutbound;
  readonly #events: DialEvents;
  readonly #bytes = new Uint8Array(NEGOTIATION_BYTES);
  /** What is to be written and was not taken yet. */
  #out: Uint8Array<ArrayBuffer> = NOTHING;
  #tag = -1;

  constructor(
    loop: Loop,
    socket: TcpSocket,
    driver: Socks5Outbound | HttpOutbound,
    events: DialEvents,
  ) {
    this.#loop = loop;
    this.#socket = socket;
    this.#driver = driver;
    this.#events = events;
  }

  start(): void {
    this.#tag = this.#loop.watch(this.#socket.fd, EpollEvent.in | EpollEvent.out, this);
  }

  abort(): void {
    if (this.#socket.closed) return;
    this.#unwatch();
    this.#socket.abort();
  }

  ready(): void {
    this.#read();
    if (this.#tag >= 0 && this.#driver.state === "waiting") this.#write();
  }

  #write(): void {
    if (this.#out.length === 0) {
      const count = this.#driver.drain(this.#bytes, 0, this.#bytes.length);
      this.#out = this.#bytes.slice(0, count);
    }
    if (this.#out.length > 0) {
      const taken = this.#socket.write(this.#out, 0, this.#out.length);
      if (taken < 0 && taken !== tcpAgain) return this.#events.failed(OpenedCode.unreachable);
      this.#out = this.#out.slice(Math.max(0, taken));
    }
    const waits = this.#out.length > 0 || this.#driver.pending > 0;
    const events = EpollEvent.in | (waits ? EpollEvent.out : 0);
    this.#loop.change(this.#tag, this.#socket.fd, events);
  }

  #read(): void {
    const count = this.#socket.read(this.#bytes, 0, this.#bytes.length);
    if (count === tcpAgain) return;
    if (count <= 0) return this.#events.failed(OpenedCode.unreachable);
    const used = this.#driver.feed(this.#bytes, 0, count);
    const { state, code } = this.#driver;
    if (state === "failed") return this.#events.failed(code);
    if (state !== "open") return;
    this.#unwatch();
    this.#events.connected(this.#socket, this.#bytes.slice(used, count));
  }

  #unwatch(): void {
    if (this.#tag < 0) return;
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    this.#tag = -1;
  }
}

function connect(loop: Loop, peer: Endpoint, options: DialOptions): TcpSocket {
  const isIpv4 = isIpv4Mapped(peer.ip);
  const source = options.sources?.find(({ ip }) => isIpv4Mapped(ip) === isIpv4);
  return TcpSocket.connect(loop.native, {
    peer,
    keepAliveSeconds: KEEPALIVE_SECONDS,
    ...(source === undefined ? {} : { source }),
    ...(options.device === undefined ? {} : { device: options.device }),
  });
}

function isOf(family: Family, { ip }: Endpoint): boolean {
  return isIpv4Mapped(ip) === (family === 4);
}

/** A code of OPENED for why a connection failed. */
export function openedCodeOf(errno: number): number {
  switch (errnoCode(errno)) {
    case "ECONNREFUSED":
      return OpenedCode.refused;
    case "ETIMEDOUT":
      return OpenedCode.timedOut;
    case "EACCES":
    case "EPERM":
      return OpenedCode.denied;
    case "EMFILE":
    case "ENFILE":
    case "ENOMEM":
    case "ENOBUFS":
      return OpenedCode.tooManyStreams;
    default:
      return OpenedCode.unreachable;
  }
}

/** The address that a checked target holds. */
export function endpointOf(
  checked: { readonly port: number; copyIp(out: Uint8Array, at: number): void },
): Endpoint {
  const ip = new Uint8Array(16);
  checked.copyIp(ip, 0);
  return endpoint(ip, checked.port);
}
