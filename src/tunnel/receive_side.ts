/**
 * The receiving half of a packet pump: headers are shown, packets opened in batches and handed to
 * their sessions. Nothing is allocated for a packet. Who may speak is decided before: only packets
 * that open, and were not seen, reach a session, its window, its keys or its routes.
 */

import { AeadBatch, type AeadTable } from "../../ffi/aead.ts";
import { PacketHeaders } from "../../ffi/mask.ts";
import type { DatagramInbox } from "../../ffi/udp.ts";
import { NO_KEY } from "../crypto/key_update.ts";
import type { Primitives } from "../crypto/primitives.ts";
import type { ReplayWindows } from "../crypto/replay_window.ts";
import { type Carrier, SPANS_MAX } from "../transport/carrier.ts";
import { CloseCode } from "../wire/frames.ts";
import { DATA_OVERHEAD, FORGED_PACKETS_MAX, HEADER_BYTES } from "../wire/limits.ts";
import { isData, phaseOf } from "../wire/packet.ts";
import { Arrival } from "./arrival.ts";
import type { Peer } from "./peer.ts";
import type { PeerTable } from "./peer_table.ts";
import type { PumpClock } from "./pump_clock.ts";

/** What came in. */
export class ReceiveCounters {
  datagrams = 0;
  bytes = 0;
  /** Nothing that we can read: dropped in silence. */
  junk = 0;
  /** DATA for a session that is not here. */
  strangers = 0;
  /** DATA that was seen, or is older than the window. */
  repeated = 0;
  /** DATA whose tag is wrong. */
  forged = 0;
  /** DATA over a user's rate. */
  overRate = 0;
}

/** What the tunnel decides of packets. */
export interface ReceiveOwner<P extends Peer> {
  /** A HELLO, ACCEPT or RESET by its header, or it says so. */
  handshake(arrival: Arrival): void;
  /** DATA of a session that is not here. */
  stranger(arrival: Arrival): void;
  /** The first packet of a session opened. */
  confirmed(peer: P, now: number): void;
  /** A packet opened that came by a route the session does not know; the path's index, or -1. */
  newRoute(peer: P, arrival: Arrival): number;
}

export interface ReceiveParts<P extends Peer> {
  readonly owner: ReceiveOwner<P>;
  readonly clock: PumpClock;
  readonly primitives: Primitives;
  readonly peers: PeerTable<P>;
  readonly windows: ReplayWindows;
  readonly table: AeadTable;
  /** The session may have something to send. */
  readonly wake: (peer: P) => void;
}

export class ReceiveSide<P extends Peer> {
  readonly counters: ReceiveCounters = new ReceiveCounters();
  readonly #owner: ReceiveOwner<P>;
  readonly #clock: PumpClock;
  readonly #primitives: Primitives;
  readonly #peers: PeerTable<P>;
  readonly #windows: ReplayWindows;
  readonly #table: AeadTable;
  readonly #wake: (peer: P) => void;
  readonly #headers: PacketHeaders = new PacketHeaders(SPANS_MAX);
  readonly #arrival: Arrival;
  readonly #opens = new AeadBatch(SPANS_MAX);
  readonly #openPeers: (P | undefined)[] = new Array(SPANS_MAX).fill(undefined);
  readonly #openSpans = new Int32Array(SPANS_MAX);
  #lastId = 0;
  #lastPeer: P | undefined;
  // The path of the packets of one message, which share a route.
  #routePeer: P | undefined;
  #routeMessage = -1;
  #routePath = -1;

  constructor(parts: ReceiveParts<P>) {
    this.#owner = parts.owner;
    this.#clock = parts.clock;
    this.#primitives = parts.primitives;
    this.#peers = parts.peers;
    this.#windows = parts.windows;
    this.#table = parts.table;
    this.#wake = parts.wake;
    this.#arrival = new Arrival(this.#headers, parts.clock.tskd);
  }

  /** What was found of peers and paths is looked up anew: some have come or gone. */
  forget(): void {
    this.#lastPeer = this.#routePeer = undefined;
  }

  /** Takes a batch. */
  take(carrier: Carrier, inbox: DatagramInbox, count: number): void {
    const { counters } = this;
    this.#clock.read();
    this.#clock.mask.unmask(inbox, this.#headers);
    this.#arrival.begin(carrier, inbox);
    this.#opens.clear();
    this.#routeMessage = -1;
    counters.datagrams += count;
    for (let i = 0; i < count; i++) this.#show(inbox, i);
    const opens = this.#opens;
    if (opens.count > 0) {
      this.#table.open(opens, inbox.arena);
      for (let k = 0; k < opens.count; k++) this.#deliver(carrier, inbox, k);
    }
  }

  #show(inbox: DatagramInbox, i: number): void {
    const { counters } = this;
    const headers = this.#headers;
    const kind = headers.kind(i);
    counters.bytes += inbox.length(i);
    if (kind === 0 || inbox.isTruncated(i)) {
      counters.junk++;
      return;
    }
    if (!isData(kind)) {
      this.#arrival.index = i;
      return this.#owner.handshake(this.#arrival);
    }
    const number = headers.number(i);
    const peer = this.#find(headers.session(i));
    if (peer === undefined) {
      counters.strangers++;
      this.#arrival.index = i;
      return this.#owner.stranger(this.#arrival);
    }
    if (!peer.isActive) return;
    if (!this.#windows.check(peer.window, number)) {
      counters.repeated++;
      return;
    }
    this.#addOpen(inbox, peer, i, number, peer.keys!.receive.keyFor(phaseOf(kind), number));
  }

  #addOpen(inbox: DatagramInbox, peer: P, i: number, number: number, key: number): void {
    const length = inbox.length(i);
    if (key === NO_KEY) {
      this.counters.forged++;
      return;
    }
    const at = inbox.offset(i);
    const textBytes = length - DATA_OVERHEAD;
    const k = this.#opens.add(key, number, at, HEADER_BYTES, at + HEADER_BYTES, textBytes);
    this.#openPeers[k] = peer;
    this.#openSpans[k] = i;
  }

  #find(id: number): P | undefined {
    if (this.#lastPeer !== undefined && this.#lastId === id) return this.#lastPeer;
    this.#lastId = id;
    this.#lastPeer = this.#peers.find(id);
    return this.#lastPeer;
  }

  /** The k-th of the opened. */
  #deliver(carrier: Carrier, inbox: DatagramInbox, k: number): void {
    const { counters } = this;
    const peer = this.#openPeers[k]!;
    this.#openPeers[k] = undefined;
    if (this.#opens.result(k) !== 0) {
      counters.forged++;
      if (!peer.isReleased) this.#onForged(peer);
      return;
    }
    if (peer.isReleased) return;
    const i = this.#openSpans[k]!;
    const number = this.#headers.number(i);
    // Both copies of a packet may be in one batch.
    if (!this.#windows.check(peer.window, number)) {
      counters.repeated++;
      return;
    }
    const { now } = this.#clock;
    // Only now: who can't seal must not use up a user's rate. It counts as lost.
    const { receiveLimit, account } = peer;
    if (account !== undefined) {
      account.up += inbox.length(i);
      account.used();
    }
    if (receiveLimit !== undefined && !receiveLimit.take(now, inbox.length(i))) {
      counters.overRate++;
      return;
    }
    this.#windows.mark(peer.window, number);
    peer.keys!.receive.opened(this.#primitives, phaseOf(this.#headers.kind(i)), number, now);
    const path = this.#pathOf(carrier, inbox, peer, i);
    if (path < 0) return;
    peer.heardAt[path] = now;
    if (!peer.isConfirmed) this.#confirm(peer, now);
    const at = inbox.offset(i) + HEADER_BYTES;
    const length = inbox.length(i);
    peer.session.receive(now, path, number, inbox.arena, at, length - DATA_OVERHEAD, length);
    if (!peer.isQueued) this.#wake(peer);
  }

  /** So many would bring a forger near to one that opens. */
  #onForged(peer: P): void {
    if (++peer.keys!.forged < FORGED_PACKETS_MAX) return;
    peer.session.close(this.#clock.now, CloseCode.overLimit);
    this.#wake(peer);
  }

  #confirm(peer: P, now: number): void {
    peer.isConfirmed = true;
    this.#owner.confirmed(peer, now);
  }

  /** The path that the i-th datagram came by. */
  #pathOf(carrier: Carrier, inbox: DatagramInbox, peer: P, i: number): number {
    const message = inbox.message(i);
    if (peer === this.#routePeer && message === this.#routeMessage) return this.#routePath;
    this.#routePeer = peer;
    this.#routeMessage = message;
    carrier.learn?.(message);
    const { routes } = peer;
    for (let path = 0; path < routes.length; path++) {
      const route = routes[path];
      if (route !== undefined && inbox.isRoute(i, route)) return this.#routePath = path;
    }
    this.#arrival.index = i;
    const path = this.#owner.newRoute(peer, this.#arrival);
    this.#routePeer = peer;
    return this.#routePath = path;
  }
}
