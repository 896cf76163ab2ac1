/** What ICMP tells of the way to a peer: errors about packets sent there, and echoes. */

import { type Endpoint, endpointWords, formatEndpoint, writeEndpoint } from "./endpoint.ts";
import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import type { Native } from "./native.ts";
import type { UdpInbox } from "./udp.ts";

const EMSGSIZE = 90;
const ECONNREFUSED = 111;

export interface PathNews {
  /** Ports of the peer's that it says nobody has. */
  readonly refused: ReadonlySet<number>;
  /** The path's MTU, where a packet was longer. */
  readonly mtu: number | undefined;
}

/**
 * Hears errors about UDP packets from this machine to an address, also about those that never met
 * the network stack. The kernel learns the path's MTU by it, as it does for sockets of its own.
 */
export class PathWatch extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #detail = new Uint32Array(1);

  constructor(native: Native, peer: Endpoint) {
    super(`watch of the path to ${formatEndpoint(peer)}`);
    this.#native = native;
    this.#fd = checked(
      native.symbols.ph_path_open(wordsOf(peer)),
      () => `open the ${this.label}`,
      (code) => code === "EPERM" ? "run as root, or with CAP_NET_RAW" : undefined,
    );
  }

  /** What was heard since the last call. */
  take(): PathNews {
    this.assertOpen();
    const refused = new Set<number>();
    let mtu: number | undefined;
    for (;;) {
      const error = this.#native.symbols.ph_path_error(this.#fd, this.#detail);
      if (error <= 0) return { refused, mtu };
      if (error === ECONNREFUSED) refused.add(this.#detail[0]!);
      if (error === EMSGSIZE) mtu = this.#detail[0]!;
    }
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.#fd);
  }
}

/** Ports of this machine, both included. */
export interface Ports {
  readonly first: number;
  readonly last: number;
}

/**
 * UDP packets from an address to ports of ours that no socket has, put together where they came in
 * parts. IPv4's begin with their IP header, IPv6's with the UDP header; sums are not verified.
 */
export class RawInbox extends Handle {
  readonly #native: Native;
  readonly fd: number;

  constructor(native: Native, peer: Endpoint, { first, last }: Ports, bufferBytes: number) {
    super(`raw socket of ${formatEndpoint(peer)}`);
    this.#native = native;
    this.fd = checked(
      native.symbols.ph_returns_open(wordsOf(peer), first, last, bufferBytes),
      () => `open the ${this.label}`,
    );
  }

  /** Receives what there is, at most the inbox's slots; the number of packets. */
  receive(inbox: UdpInbox): number {
    this.assertOpen();
    const { arena, slotBytes, slots, messages, spans, spanMax } = inbox;
    const received = this.#native.symbols.ph_udp_recv(
      this.fd,
      0,
      arena,
      arena.length,
      slotBytes,
      slots,
      messages,
      spans,
      spanMax,
    );
    inbox.count = Math.max(0, received);
    return checked(received, () => `receive on the ${this.label}`);
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.fd);
  }
}

/** An ICMP echo on its way. */
export class Echo extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #token = crypto.getRandomValues(new Uint32Array(1))[0]!;

  /** Sends it. */
  constructor(native: Native, peer: Endpoint) {
    super(`echo to ${formatEndpoint(peer)}`);
    this.#native = native;
    this.#fd = checked(
      native.symbols.ph_echo_send(wordsOf(peer), this.#token),
      () => `send an ${this.label}`,
    );
  }

  /** Whether its answer has come. Throws where there is no way. */
  heard(): boolean {
    this.assertOpen();
    const result = this.#native.symbols.ph_echo_heard(this.#fd, this.#token);
    return checked(result, () => `hear the ${this.label}`) === 1;
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.#fd);
  }
}

function wordsOf(peer: Endpoint): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(endpointWords);
  writeEndpoint(words, 0, peer);
  return words;
}
