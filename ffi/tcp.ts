/**
 * Streams for the data plane: non-blocking TCP sockets for an Epoll.
 *
 * With edge triggering an event comes once: read until a read gives less than was asked for, write
 * until a write does. After an event with readHangUp or hangUp, read until 0 or an error.
 */

import { type Endpoint, endpointWords, formatEndpoint } from "./endpoint.ts";
import { readEndpoint, writeEndpoint } from "./endpoint.ts";
import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import { cString } from "./memory.ts";
import type { Native } from "./native.ts";

/** enum ph_tcp_flag. */
export const TcpFlag = {
  reuseport: 1,
  v6only: 2,
  nodelay: 4,
  fastopen: 8,
} as const;

/** PH_TCP_ACCEPT_MAX. */
export const tcpAcceptMax = 64;
/** PH_TCP_KEEPALIVE_MAX, in seconds. */
export const tcpKeepAliveMax = 32767;

/** What a read or write returns when it would have to wait: -EAGAIN. */
export const tcpAgain = -11;
/** What `result` returns while the connection is not there yet: -EINPROGRESS. */
export const tcpInProgress = -115;

// struct ph_tcp_accepted in words: peer, fd, pad.
const acceptedWords = endpointWords + 2;
const backlogMax = 65535;
/** IFNAMSIZ, with the NUL. */
const deviceBytesMax = 16;

interface StreamOptions {
  /** Send small pieces at once. @default {true} */
  readonly noDelay?: boolean;
  /** Ask the peer after this much silence; 0: never. @default {0} */
  readonly keepAliveSeconds?: number;
}

export interface TcpListenerOptions extends StreamOptions {
  /** Port 0: any free one. An IPv4-mapped address takes IPv4 only, :: both families. */
  readonly local: Endpoint;
  /** Share the port: the kernel spreads connections over its sockets. @default {false} */
  readonly reusePort?: boolean;
  /** @default {false} */
  readonly v6Only?: boolean;
  /** Connections that may wait; the kernel caps it by net.core.somaxconn. @default {1024} */
  readonly backlog?: number;
}

export interface TcpConnectOptions extends StreamOptions {
  readonly peer: Endpoint;
  /** Address to come from, of the peer's family; its port may be 0. */
  readonly source?: Endpoint;
  /** Name of the only interface to use. */
  readonly device?: string;
  /** Let what is written first go out with the SYN. @default {false} */
  readonly fastOpen?: boolean;
}

/** A socket that takes connections. */
export class TcpListener extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #flags: number;
  readonly #keepAlive: number;
  readonly #accepted: Uint32Array<ArrayBuffer> = new Uint32Array(tcpAcceptMax * acceptedWords);
  /** As bound: with the port that the kernel chose. */
  readonly local: Endpoint;

  constructor(native: Native, options: TcpListenerOptions) {
    const { reusePort = false, v6Only = false, backlog = 1024, keepAliveSeconds = 0 } = options;
    assertRange("TCP listener", "backlog", backlog, 1, backlogMax);
    assertRange("TCP listener", "keepAliveSeconds", keepAliveSeconds, 0, tcpKeepAliveMax);
    const words = new Uint32Array(endpointWords);
    writeEndpoint(words, 0, options.local);
    const flags = (reusePort ? TcpFlag.reuseport : 0) | (v6Only ? TcpFlag.v6only : 0);
    const fd = checked(
      native.symbols.ph_tcp_listen(words, flags, backlog),
      () => `listen on TCP ${formatEndpoint(options.local)}`,
      listenRemedy,
    );
    const local = readEndpoint(words, 0);
    super(`TCP listener ${formatEndpoint(local)}`);
    this.#native = native;
    this.#fd = fd;
    this.#flags = options.noDelay ?? true ? TcpFlag.nodelay : 0;
    this.#keepAlive = keepAliveSeconds;
    this.local = local;
  }

  /** For an Epoll. */
  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /**
   * Takes connections that wait, at most 64; the caller's to close. Fewer than 64 are all there
   * were. With edge triggering, one that could not be taken (EMFILE) is only told of again when
   * another comes: call it from a timer too.
   */
  accept(max = tcpAcceptMax): TcpSocket[] {
    this.assertOpen();
    assertRange("TCP listener", "max", max, 1, tcpAcceptMax);
    const { symbols } = this.#native;
    const words = this.#accepted;
    const count = checked(
      symbols.ph_tcp_accept(this.#fd, this.#flags, this.#keepAlive, words, max),
      () => `accept on ${this.label}`,
      (code) => code === "EMFILE" ? "raise the limit on open files (LimitNOFILE)" : undefined,
    );
    return Array.from({ length: count }, (_, i) => {
      const at = i * acceptedWords;
      return new TcpSocket(this.#native, words[at + endpointWords]!, readEndpoint(words, at));
    });
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.#fd);
  }
}

/** A connection, or one in the making. */
export class TcpSocket extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly peer: Endpoint;
  #aborting = false;
  #isDetached = false;

  /** Takes over a descriptor of a non-blocking TCP socket. */
  constructor(native: Native, fd: number, peer: Endpoint) {
    super("TCP socket");
    this.#native = native;
    this.#fd = fd;
    this.peer = peer;
  }

  /**
   * Begins to connect; throws what fails at once. When the socket is writable, `result` says how it
   * went.
   */
  static connect(native: Native, options: TcpConnectOptions): TcpSocket {
    const { peer, source, device = "", fastOpen = false, keepAliveSeconds = 0 } = options;
    assertRange("TCP socket", "keepAliveSeconds", keepAliveSeconds, 0, tcpKeepAliveMax);
    const name = cString(device);
    if (name.length > deviceBytesMax) {
      throw new RangeError(
        `Cannot use an interface as its name must have at most ${deviceBytesMax - 1} bytes: ` +
          `current value is ${device}`,
      );
    }
    const words = new Uint32Array(2 * endpointWords);
    writeEndpoint(words, 0, peer);
    if (source !== undefined) writeEndpoint(words, endpointWords, source);
    const flags = (options.noDelay ?? true ? TcpFlag.nodelay : 0) |
      (fastOpen ? TcpFlag.fastopen : 0);
    const fd = checked(
      native.symbols.ph_tcp_connect(
        words.subarray(0, endpointWords),
        words.subarray(endpointWords),
        name,
        flags,
        keepAliveSeconds,
      ),
      () => `connect TCP to ${formatEndpoint(peer)}`,
      connectRemedy,
    );
    return new TcpSocket(native, fd, peer);
  }

  /** For an Epoll. */
  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /** 0: connected; tcpInProgress: not yet; else -errno of why not, told once. */
  result(): number {
    this.assertOpen();
    return this.#native.symbols.ph_tcp_result(this.#fd);
  }

  /** The address it has here. */
  local(): Endpoint {
    this.assertOpen();
    const words = new Uint32Array(endpointWords);
    const { symbols } = this.#native;
    checked(symbols.ph_tcp_local(this.#fd, words), () => `ask for the address of ${this.label}`);
    return readEndpoint(words, 0);
  }

  /** Reads into arena[at, at + length): how many bytes, 0 at the end, tcpAgain, or -errno. */
  read(arena: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    this.assertOpen();
    return this.#native.symbols.ph_tcp_read(this.#fd, arena, arena.length, at, length);
  }

  /** Writes arena[at, at + length): how many bytes were taken, tcpAgain, or -errno. */
  write(arena: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    this.assertOpen();
    return this.#native.symbols.ph_tcp_write(this.#fd, arena, arena.length, at, length);
  }

  /** Nothing more will be written: the peer reads what was, then the end. 0, or -errno. */
  finish(): number {
    this.assertOpen();
    return this.#native.symbols.ph_tcp_finish(this.#fd);
  }

  /** Bytes of the kernel's memory that its queues hold. */
  held(): number {
    this.assertOpen();
    return Math.max(0, this.#native.symbols.ph_tcp_held(this.#fd));
  }

  /** Closes with RST: the peer learns that something was lost. */
  abort(): void {
    this.#aborting = true;
    this.close();
  }

  /** Gives the descriptor away, which stays open; this is closed. */
  detach(): number {
    const { fd } = this;
    this.#isDetached = true;
    this.close();
    return fd;
  }

  protected release(): void {
    const { symbols } = this.#native;
    if (this.#isDetached) return;
    if (this.#aborting) symbols.ph_tcp_abort(this.#fd);
    else symbols.ph_close(this.#fd);
  }
}

function listenRemedy(code: string): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return "another process has the port; `ss -ltnp` shows which";
    case "EACCES":
      return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
    case "EAFNOSUPPORT":
      return "this machine has no IPv6";
    case "EADDRNOTAVAIL":
      return "no interface of this machine has the address";
    default:
      return undefined;
  }
}

function connectRemedy(code: string): string | undefined {
  switch (code) {
    case "EADDRNOTAVAIL":
      return "no interface has the source address, or all its ports are in use";
    case "EAFNOSUPPORT":
      return "the source is of another family than the peer, or this machine has no IPv6";
    case "ENODEV":
      return "there is no such interface";
    case "EPERM":
      return "an interface can only be chosen with CAP_NET_RAW before Linux 5.7";
    default:
      return undefined;
  }
}

function assertRange(what: string, name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(
    `Cannot use ${what} as '${name}' must be ${min} to ${max}: current value is ${value}`,
  );
}
