/**
 * UDP in batches. A socket fills a UdpInbox and empties a UdpOutbox; both are allocated once and
 * read or written by index, so that a packet costs no allocation and no call of its own.
 */

import { type Endpoint, endpointWords, formatEndpoint, readEndpoint } from "./endpoint.ts";
import { type Route, routeWords, writeEndpoint } from "./endpoint.ts";
import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import type { Native } from "./native.ts";

/** enum ph_udp_flag. */
export const UdpFlag = {
  reuseport: 1,
  v6only: 2,
  gro: 4,
  gso: 8,
  pktinfo: 16,
  dontfrag: 32,
  ipv4: 64,
  spared: 128,
  errors: 256,
} as const;

/** enum ph_way_error: why datagrams do not get to their peer, as ICMP says. */
export const WayError = { refused: 1, unreachable: 2, prohibited: 3 } as const;

/** Limits of ph.h, under its names. */
export const udpBatchMax = 64;
export const udpGroMax = 128;
export const udpGsoMax = 64;
export const udpPayloadMax = 65507;
/** As a segment: IP may fragment the datagram. */
export const udpFragment = 0xffff_ffff;

const SPAN_TRUNCATED = 1;
const spanWords = 4;
const portWord = 4;
const sendWords = routeWords + 4;
const slotBytesMax = 65536;

export interface UdpOptions {
  /** Port 0: any free one. An IPv4-mapped address takes IPv4 only, :: both families. */
  readonly local: Endpoint;
  /** @default {false} */
  readonly reusePort?: boolean;
  /** @default {false} */
  readonly v6Only?: boolean;
  /** Let the kernel join received datagrams. @default {true} */
  readonly gro?: boolean;
  /** Let the kernel cut what is sent. @default {true} */
  readonly gso?: boolean;
  /** Learn each datagram's local address. @default {true} */
  readonly packetInfo?: boolean;
  /** Name of the only interface to use. @default {""} */
  readonly device?: string;
  /** Never fragment; a datagram over the MTU gets EMSGSIZE. @default {false} */
  readonly dontFragment?: boolean;
  /** Leave the spared descriptors alone (descriptors.ts). @default {false} */
  readonly isSpared?: boolean;
  /** Keep what ICMP says of datagrams that were sent, for `error`. @default {false} */
  readonly errors?: boolean;
  /** 0: the system's. @default {0} */
  readonly receiveBufferBytes?: number;
  /** 0: the system's. @default {0} */
  readonly sendBufferBytes?: number;
}

/** A non-blocking UDP socket. */
export class UdpSocket extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #flags: Uint32Array<ArrayBuffer>;
  /** As bound: with the port that the kernel chose. */
  readonly local: Endpoint;

  constructor(native: Native, options: UdpOptions) {
    const words = new Uint32Array(endpointWords);
    writeEndpoint(words, 0, options.local);
    const flags = Uint32Array.of(flagsOf(options));
    const { receiveBufferBytes = 0, sendBufferBytes = 0 } = options;
    const fd = checked(
      native.symbols.ph_udp_open(words, flags, receiveBufferBytes, sendBufferBytes),
      () => `bind UDP ${formatEndpoint(options.local)}`,
      bindRemedy,
    );
    const local = readEndpoint(words, 0);
    super(`UDP socket ${formatEndpoint(local)}`);
    this.#native = native;
    this.#fd = fd;
    this.#flags = flags;
    this.local = local;
    if (options.device !== undefined && options.device !== "") this.#bindDevice(options.device);
  }

  #bindDevice(device: string): void {
    const name = new TextEncoder().encode(`${device}\0`);
    const result = this.#native.symbols.ph_udp_device(this.#fd, name);
    if (result === 0) return;
    this.close();
    checked(result, () => `use interface ${device} for UDP`);
  }

  /** For an Epoll. */
  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /** Bits of UdpFlag that this socket and kernel have; `gso` goes when the device refuses it. */
  get features(): number {
    return this.#flags[0]!;
  }

  has(feature: keyof typeof UdpFlag): boolean {
    return (this.#flags[0]! & UdpFlag[feature]) !== 0;
  }

  /** Receives what there is, at most the inbox's slots; the number of datagrams. */
  receive(inbox: UdpInbox): number {
    this.assertOpen();
    const { arena, slotBytes, slots, messages, spans, spanMax } = inbox;
    const received = this.#native.symbols.ph_udp_recv(
      this.#fd,
      this.#flags[0]!,
      arena,
      arena.length,
      slotBytes,
      slots,
      messages,
      spans,
      spanMax,
    );
    inbox.count = received < 0 ? 0 : received;
    return received >= 0 ? received : checked(received, () => `receive on ${this.label}`);
  }

  /**
   * Sends the outbox's entries; how many were dealt with, each with its `result`. Fewer than its
   * `count` means that the socket's buffer is full: `outbox.drop` those, and send again when epoll
   * says that it is writable.
   */
  send(outbox: UdpOutbox): number {
    this.assertOpen();
    const { arena, sends, count } = outbox;
    const sent = this.#native.symbols.ph_udp_send(
      this.#fd,
      this.#flags,
      arena,
      arena.length,
      sends,
      count,
    );
    return sent >= 0 ? sent : checked(sent, () => `send on ${this.label}`);
  }

  /**
   * What ICMP has said of a datagram, each once: a WayError, and whom it was for and who says so in
   * `peer` and `teller`, of `endpointWords` words; 0: nothing more. Whoever knows the ports can
   * forge it.
   */
  error(peer: Uint32Array<ArrayBuffer>, teller: Uint32Array<ArrayBuffer>): number {
    this.assertOpen();
    return Math.max(0, this.#native.symbols.ph_udp_error(this.#fd, peer, teller));
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.#fd);
  }
}

/** The address of ours that packets to a peer come from; undefined: there is no route. */
export function sourceAddress(native: Native, peer: Endpoint): Uint8Array | undefined {
  const words = new Uint32Array(2 * endpointWords);
  writeEndpoint(words, 0, peer);
  const source = words.subarray(endpointWords);
  const result = native.symbols.ph_source_address(words, source);
  return result < 0 ? undefined : readEndpoint(words, endpointWords).ip;
}

function flagsOf(options: UdpOptions): number {
  const { reusePort = false, v6Only = false, gro = true, gso = true } = options;
  const { packetInfo = true, dontFragment = false, isSpared = false, errors = false } = options;
  return (reusePort ? UdpFlag.reuseport : 0) | (v6Only ? UdpFlag.v6only : 0) |
    (gro ? UdpFlag.gro : 0) | (gso ? UdpFlag.gso : 0) |
    (packetInfo ? UdpFlag.pktinfo : 0) | (dontFragment ? UdpFlag.dontfrag : 0) |
    (isSpared ? UdpFlag.spared : 0) | (errors ? UdpFlag.errors : 0);
}

function bindRemedy(code: string): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return "another process has the port; `ss -lunp` shows which";
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

export interface UdpInboxOptions {
  /** Messages received in one call, at most 64. @default {16} */
  readonly slots?: number;
  /** Bytes for each message. What GRO joins needs 65,536. @default {65536} */
  readonly slotBytes?: number;
  /** Datagrams in one call. @default {slots * 128} */
  readonly spanMax?: number;
}

/** Datagrams that were received, however they came. All is valid until the next receive. */
export class DatagramInbox {
  /** The bytes; `offset(i)` and `length(i)` say where the i-th datagram lies. */
  readonly arena: Uint8Array<ArrayBuffer>;
  readonly spanMax: number;
  /** struct ph_udp_msg[]: a route each. */
  readonly messages: Uint32Array<ArrayBuffer>;
  /** struct ph_udp_span[spanMax]. */
  readonly spans: Uint32Array<ArrayBuffer>;
  /** Datagrams of the last receive. */
  count = 0;

  constructor(arena: Uint8Array<ArrayBuffer>, messageMax: number, spanMax: number) {
    this.arena = arena;
    this.spanMax = spanMax;
    this.messages = new Uint32Array(messageMax * routeWords);
    this.spans = new Uint32Array(spanMax * spanWords);
  }

  /** Where the i-th datagram begins in the arena. */
  offset(i: number): number {
    return this.spans[i * spanWords]!;
  }

  length(i: number): number {
    return this.spans[i * spanWords + 1]!;
  }

  /** The message that the i-th datagram came in; those of one message share a route. */
  message(i: number): number {
    return this.spans[i * spanWords + 2]!;
  }

  /** Whether bytes were cut off at its end. */
  isTruncated(i: number): boolean {
    return (this.spans[i * spanWords + 3]! & SPAN_TRUNCATED) !== 0;
  }

  /** A view of the i-th datagram. Allocates: not for each packet. */
  bytes(i: number): Uint8Array<ArrayBuffer> {
    return this.arena.subarray(this.offset(i), this.offset(i) + this.length(i));
  }

  /** Copies the i-th datagram's route, for a reply. */
  copyRoute(i: number, into: Uint32Array): void {
    const from = this.message(i) * routeWords;
    for (let word = 0; word < routeWords; word++) into[word] = this.messages[from + word]!;
  }

  /** Whether the i-th datagram took this very route: from where, and to where. */
  isRoute(i: number, route: Uint32Array): boolean {
    const from = this.message(i) * routeWords;
    for (let word = 0; word < routeWords; word++) {
      if (route[word] !== this.messages[from + word]) return false;
    }
    return true;
  }

  /**
   * Says of the first messages which carrier they came by, and to which port of ours: words that
   * the library leaves 0.
   */
  mark(messages: number, carrier: number, localPort: number): void {
    for (let at = 0; at < messages * routeWords; at += routeWords) {
      this.messages[at + portWord]! |= carrier << 16;
      this.messages[at + endpointWords + portWord] = localPort;
    }
  }

  /** Who sent the i-th datagram. Allocates: not for each packet. */
  peer(i: number): Endpoint {
    return readEndpoint(this.messages, this.message(i) * routeWords);
  }

  /**
   * Where the i-th datagram was sent to; a port of 0 is the socket's own. Allocates: not for each
   * packet.
   */
  local(i: number): Endpoint {
    return readEndpoint(this.messages, this.message(i) * routeWords + endpointWords);
  }
}

/** Where a UdpSocket receives. */
export class UdpInbox extends DatagramInbox {
  readonly slots: number;
  readonly slotBytes: number;

  constructor(options: UdpInboxOptions = {}) {
    const { slots = 16, slotBytes = slotBytesMax, spanMax = slots * udpGroMax } = options;
    assertRange("UDP inbox", "slots", slots, 1, udpBatchMax);
    assertRange("UDP inbox", "slotBytes", slotBytes, 1, slotBytesMax);
    assertRange("UDP inbox", "spanMax", spanMax, udpGroMax, udpBatchMax * udpGroMax);
    super(new Uint8Array(slots * slotBytes), slots, spanMax);
    this.slots = slots;
    this.slotBytes = slotBytes;
  }
}

/** What is to be sent. The arena may be an inbox's, for a reply without a copy. */
export class UdpOutbox {
  readonly arena: Uint8Array<ArrayBuffer>;
  /** struct ph_udp_send[64]. */
  readonly sends: Uint32Array<ArrayBuffer> = new Uint32Array(udpBatchMax * sendWords);
  #count = 0;

  constructor(arena: Uint8Array<ArrayBuffer>) {
    this.arena = arena;
  }

  /** Entries to send. */
  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === udpBatchMax;
  }

  clear(): void {
    this.#count = 0;
  }

  /**
   * Adds bytes of the arena; its index. With `segment`, what is longer is cut into datagrams of
   * that size, the last one shorter: at most 64 of them, and 65,507 bytes together. With
   * `udpFragment` IP may fragment the one datagram, whatever `dontFragment` says.
   */
  add(route: Route, offset: number, length: number, segment = 0): number {
    if (this.#count === udpBatchMax) {
      throw new RangeError(
        `Cannot add to a UDP outbox as it must hold at most ${udpBatchMax} entries`,
      );
    }
    const i = this.#count++;
    const at = i * sendWords;
    for (let word = 0; word < routeWords; word++) this.sends[at + word] = route[word]!;
    this.sends[at + routeWords] = offset;
    this.sends[at + routeWords + 1] = length;
    this.sends[at + routeWords + 2] = segment;
    this.sends[at + routeWords + 3] = 0;
    return i;
  }

  /** After a send: 0, or -errno of the i-th entry. */
  result(i: number): number {
    return this.sends[i * sendWords + routeWords + 3]! | 0;
  }

  // For who sends by something else than a UdpSocket.

  offset(i: number): number {
    return this.sends[i * sendWords + routeWords]!;
  }

  length(i: number): number {
    return this.sends[i * sendWords + routeWords + 1]!;
  }

  /** As given to `add`. */
  segment(i: number): number {
    return this.sends[i * sendWords + routeWords + 2]!;
  }

  copyRoute(i: number, into: Route): void {
    for (let word = 0; word < routeWords; word++) into[word] = this.sends[i * sendWords + word]!;
  }

  setResult(i: number, result: number): void {
    this.sends[i * sendWords + routeWords + 3] = result;
  }

  /** Drops all but the first entries. */
  keep(entries: number): void {
    assertRange("UDP outbox", "entries", entries, 0, this.#count);
    this.#count = entries;
  }

  /** Drops the first entries, which were dealt with; the others move up. */
  drop(entries: number): void {
    assertRange("UDP outbox", "entries", entries, 0, this.#count);
    this.sends.copyWithin(0, entries * sendWords, this.#count * sendWords);
    this.#count -= entries;
  }
}

function assertRange(what: string, name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(
    `Cannot use ${what} as '${name}' must be ${min} to ${max}: current value is ${value}`,
  );
}
