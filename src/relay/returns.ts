/**
 * What backends answer to flows of XDP and XDP leaves over: what came in parts, or has to leave in
 * parts, has options or a tag. It is for ports that no socket has; raw sockets hear it, the flow
 * tells whose it is, and the listening socket sends it on.
 */

import { endpoint, type Route, routeWords } from "../../ffi/endpoint.ts";
import { RelayFlag, RelayKey, RelayWay } from "../../ffi/bpf/layout.gen.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { RawInbox } from "../../ffi/icmp.ts";
import { sourceAddress, UdpInbox, UdpOutbox, type UdpSocket } from "../../ffi/udp.ts";
import type { RelayPlan } from "./kernel_relay.ts";
import { copyBytes } from "../base/copy.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import type { Loop, Watcher } from "../loop/loop.ts";

const BUFFER_BYTES = 1 << 20;
const SLOTS = 16;
const BATCHES_A_ROUND = 4;
/** More cost each datagram that comes to this machine some ns. */
const SOURCES_MAX = 64;
const UDP_HEADER_BYTES = 8;
const V6_HEADER_BYTES = 40;
const UDP = 17;
const IP_BYTES = 16;
const PORT_WORD = 4;
const ROUTE_BYTES = routeWords * 4;
/** Our end, behind the peer's. */
const LOCAL_AT = ROUTE_BYTES / 2;

export interface ReturnsOptions {
  readonly plan: RelayPlan;
  /** relay_flows. */
  readonly flows: BpfMap;
  /** The socket that listens there; the address is the first 16 bytes. */
  readonly listenerOf: (ip: Uint8Array, port: number) => UdpSocket | undefined;
  readonly onReturned: () => void;
  readonly onLost: () => void;
  readonly onError: (error: unknown) => void;
}

/** A backend's address. */
class Source implements Watcher {
  readonly inbox: RawInbox;
  /** Our address towards it, in hex: with another one it hears nothing. */
  readonly local: string;
  readonly isV4: boolean;
  readonly #returns: RelayReturns;
  tag = 0;

  constructor(returns: RelayReturns, ip: Uint8Array, local: string, inbox: RawInbox) {
    this.#returns = returns;
    this.isV4 = isIpv4Mapped(ip);
    this.local = local;
    this.inbox = inbox;
  }

  ready(): void {
    this.#returns.take(this);
  }
}

export class RelayReturns {
  readonly #loop: Loop;
  readonly #options: ReturnsOptions;
  /** By the backend's address, in hex. */
  readonly #sources = new Map<string, Source>();
  readonly #inbox = new UdpInbox({ slots: SLOTS });
  readonly #outbox = new UdpOutbox(this.#inbox.arena);
  readonly #view = new DataView(this.#inbox.arena.buffer);
  readonly #messages = new Uint8Array(this.#inbox.messages.buffer);
  readonly #key = new Uint8Array(RelayKey.size);
  readonly #way: Uint8Array<ArrayBuffer>;
  readonly #wayView: DataView<ArrayBuffer>;
  readonly #route: Route = new Uint32Array(routeWords);
  readonly #routeBytes = new Uint8Array(this.#route.buffer);
  #hasFailed = false;

  constructor(loop: Loop, options: ReturnsOptions) {
    this.#loop = loop;
    this.#options = options;
    this.#way = new Uint8Array(options.flows.slotSize);
    this.#wayView = new DataView(this.#way.buffer);
  }

  /** Opens what is to be heard; to be called again when routes may have changed. */
  changed(): void {
    const { services } = this.#options.plan;
    const ips = new Map(
      services.flatMap(({ backends }) => backends.map(({ ip }) => [ip.toHex(), ip] as const)),
    );
    for (const [key, ip] of ips) {
      const peer = endpoint(ip, 0);
      const local = sourceAddress(this.#loop.native, endpoint(ip, 1))?.toHex();
      if (local === undefined || this.#sources.get(key)?.local === local) continue;
      this.#end(key);
      if (this.#sources.size >= SOURCES_MAX || this.#hasFailed) continue;
      try {
        const { first, count } = this.#options.plan.ports;
        const ports = { first, last: first + count - 1 };
        const inbox = new RawInbox(this.#loop.native, peer, ports, BUFFER_BYTES);
        const source = new Source(this, ip, local, inbox);
        source.tag = this.#loop.watch(inbox.fd, EpollEvent.in, source);
        this.#sources.set(key, source);
      } catch (error) {
        this.#hasFailed = true;
        this.#options.onError(error);
      }
    }
  }

  stop(): void {
    for (const key of [...this.#sources.keys()]) this.#end(key);
  }

  take(source: Source): void {
    const inbox = this.#inbox;
    for (let batch = 0; batch < BATCHES_A_ROUND; batch++) {
      const count = source.inbox.receive(inbox);
      for (let i = 0; i < count; i++) {
        if (this.#pass(i, source)) this.#options.onReturned();
        else this.#options.onLost();
      }
      if (count < SLOTS) return;
    }
  }

  /** Sends the i-th packet on to its client; false where it is nobody's, or wrong. */
  #pass(i: number, { isV4 }: Source): boolean {
    const inbox = this.#inbox;
    const end = inbox.offset(i) + inbox.length(i);
    const at = inbox.offset(i) + (isV4 ? (inbox.arena[inbox.offset(i)]! & 15) * 4 : 0);
    if (at + UDP_HEADER_BYTES > end) return false;
    const length = this.#view.getUint16(at + 4);
    if (length < UDP_HEADER_BYTES || at + length > end) return false;
    this.#readKey(i, at);
    if (!this.#options.flows.read(this.#key, this.#way)) return false;
    const { flags, mtu, srcIp, srcPort, dstIp, dstPort } = RelayWay.offset;
    if ((this.#wayView.getUint16(flags, true) & RelayFlag.return) === 0) return false;
    const isBegun = this.#isBegun(at, length, isV4);
    if (!isBegun && !this.#isSumRight(at, length, isV4)) return false;
    const header = isV4 ? at - inbox.offset(i) : V6_HEADER_BYTES;
    // Of a sender on this machine, that leaves the cutting to others: where, nobody says.
    const most = this.#wayView.getUint16(mtu, true);
    if (isBegun && most > 0 && header + length > most) return false;
    const listener = this.#options.listenerOf(this.#way, this.#wayView.getUint16(srcPort));
    if (listener === undefined) return false;
    this.#route.fill(0);
    copyBytes(this.#routeBytes, 0, this.#way, dstIp, IP_BYTES);
    this.#route[PORT_WORD] = this.#wayView.getUint16(dstPort);
    copyBytes(this.#routeBytes, LOCAL_AT, this.#way, srcIp, IP_BYTES);
    this.#outbox.clear();
    this.#outbox.add(this.#route, at + UDP_HEADER_BYTES, length - UDP_HEADER_BYTES);
    return listener.send(this.#outbox) === 1 && this.#outbox.result(0) === 0;
  }

  /** By what its flow is found: addresses and ports as in the packet. */
  #readKey(i: number, at: number): void {
    const from = this.#inbox.message(i) * ROUTE_BYTES;
    const { srcIp, dstIp, srcPort } = RelayKey.offset;
    copyBytes(this.#key, srcIp, this.#messages, from, IP_BYTES);
    copyBytes(this.#key, dstIp, this.#messages, from + LOCAL_AT, IP_BYTES);
    // Both ports: they stand in the key as in the packet.
    copyBytes(this.#key, srcPort, this.#inbox.arena, at, 4);
  }

  /** The sum of the pseudo-header, which the key holds the addresses of. */
  #pseudoSum(length: number, isV4: boolean): number {
    let sum = UDP + length;
    for (let at = isV4 ? 12 : 0; at < 32; at += 2) {
      if (isV4 && at === 16) at = 28;
      sum += this.#key[at]! << 8 | this.#key[at + 1]!;
    }
    return sum;
  }

  /** Whether the sender has summed up nothing else. */
  #isBegun(at: number, length: number, isV4: boolean): boolean {
    return this.#view.getUint16(at + 6) === folded(this.#pseudoSum(length, isV4));
  }

  #isSumRight(at: number, length: number, isV4: boolean): boolean {
    if (this.#view.getUint16(at + 6) === 0) return isV4;
    let sum = this.#pseudoSum(length, isV4);
    const even = at + (length & ~1);
    for (let word = at; word < even; word += 2) sum += this.#view.getUint16(word);
    if (even < at + length) sum += this.#view.getUint8(even) << 8;
    return folded(sum) === 0xffff;
  }

  #end(key: string): void {
    const source = this.#sources.get(key);
    if (source === undefined) return;
    this.#loop.unwatch(source.tag, source.inbox.fd);
    source.inbox.close();
    this.#sources.delete(key);
  }
}

/** Ones' complement, to 16 bits. */
function folded(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
