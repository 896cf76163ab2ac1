/**
 * What carries packets: a UDP socket, or connections of some kind. The packet pump has several.
 * Each hands it what comes in (`CarrierHost.take`) and is handed what goes out (`Carrier.send`),
 * both in batches, so that nothing here is called for a single packet.
 *
 *     a path of a session = a carrier and a route of it
 *
 * The carrier's number stands in the route's own words (ffi/endpoint.ts: the pad of the peer's
 * address; the port that a packet came to, where that may be one of several, is the local one), so
 * that the pump compares twelve words, as if there were one carrier.
 */

import type { Route } from "../../ffi/endpoint.ts";
import type { DatagramInbox, UdpOutbox } from "../../ffi/udp.ts";

/** Carriers of one pump; their numbers are below it. */
export const CARRIERS_MAX = 64;
/** Datagrams that an inbox may hold at most when it is handed over. */
export const SPANS_MAX = 2048;

/** Sizes of a packet in bytes: the path MTU is searched between them, and fixed where equal. */
export interface PacketSizes {
  readonly base: number;
  readonly max: number;
}

export interface Carrier {
  /** From 0 up, below CARRIERS_MAX; the UDP socket's is 0. */
  readonly id: number;
  /** "udp", …: for logs, counters and who chooses between carriers. */
  readonly kind: string;
  readonly mtu: PacketSizes;
  /**
   * Who minds congestion: we do, by acknowledgements, or the carrier has its own, and what it takes
   * may be sent.
   */
  readonly controls: "ours" | "its own";
  /** A route is a connection: it is blocked by itself, and goes by itself. */
  readonly hasConnections: boolean;
  /**
   * Sends the entries of an outbox, all of this carrier's routes. How many were dealt with, from
   * the first on, each with its `result`; what was sent may also be taken out of the outbox. What
   * was not dealt with is offered again after `CarrierHost.writable` without a route.
   *
   * Connections deal with all: a connection that is full keeps what it was given, says so by
   * `isBlocked`, and loses packets (-ENOBUFS) only beyond a bound that one batch does not reach.
   */
  send(outbox: UdpOutbox): number;
  /** Nothing should be sent by this route before `CarrierHost.writable`. */
  isBlocked(route: Route): boolean;
  /** The sender of a message of the inbox at hand has proved who they are. */
  learn?(message: number): void;
  /**
   * Packets of a session of another worker come by this route: its connection is to be handed over
   * to that worker, with what came by it (src/loop/hand_over.ts). Only from within `take`.
   */
  strayed?(route: Route, worker: number): void;
  close(): void;
}

/** Who has carriers: the packet pump. Nothing of it may be called from within `Carrier.send`. */
export interface CarrierHost {
  /** So many datagrams have come. They are taken before this returns; their bytes change. */
  take(carrier: Carrier, inbox: DatagramInbox, count: number): void;
  /** A route that was blocked is not any more; without a route: the carrier as a whole. */
  writable(carrier: Carrier, route?: Route): void;
  /** A route leads nowhere any more: its connection has ended. */
  gone(carrier: Carrier, route: Route): void;
}
