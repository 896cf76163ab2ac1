/**
 * The carriers of a packet pump, each with what goes out by it and who waits for it. A route's
 * words say whose it is, so that finding the lane is one look into a list.
 */

import { carrierOf, type Route, routeWords } from "../../ffi/endpoint.ts";
import { UdpOutbox } from "../../ffi/udp.ts";
import { type Carrier, CARRIERS_MAX } from "../transport/carrier.ts";
import type { Budget } from "../session/budget.ts";
import type { Peer } from "./peer.ts";

/** A part of the send memory; sealed packets that a carrier did not take yet keep it in use. */
export interface Region {
  readonly begin: number;
  readonly end: number;
  /** Lanes that have packets in it. */
  holders: number;
}

export class Lane<P extends Peer> {
  readonly carrier: Carrier;
  /** Packets of handshakes. */
  readonly control: UdpOutbox;
  /** Where the packets lie that the carrier did not take; undefined: it took all. */
  region: Region | undefined;
  /** Sessions that have a path by a connection. */
  readonly users: RoutePeers<P> = new RoutePeers();
  /** Sessions that wait for the carrier, or for their connection of it. */
  readonly #waiting: RoutePeers<P> = new RoutePeers();
  readonly #budget: Pick<Budget, "memory">;
  #data: UdpOutbox | undefined;

  /** `budget`: where packets of sessions are built. */
  constructor(
    carrier: Carrier,
    budget: Pick<Budget, "memory">,
    controlArena: Uint8Array<ArrayBuffer>,
  ) {
    this.carrier = carrier;
    this.#budget = budget;
    this.control = new UdpOutbox(controlArena);
  }

  /** Packets of sessions. Not made before there is one: memory is, when the worker has started. */
  get data(): UdpOutbox {
    return this.#data ??= new UdpOutbox(this.#budget.memory);
  }

  /** Whether nothing may be sent by a route now. */
  isBlocked(route: Route): boolean {
    return this.region !== undefined || this.carrier.isBlocked(route);
  }

  /** A session is to be called when the route takes something again. */
  wait(route: Route, peer: P): void {
    this.#waiting.add(route, peer);
  }

  /** Those that waited for a route, or all. They wait no more. */
  takeWaiting(route: Route | undefined): P[] {
    return this.#waiting.take(route);
  }

  /** A session has a path by this route no more. */
  leave(route: Route, peer: P): void {
    this.#waiting.remove(route, peer);
    if (this.carrier.hasConnections) this.users.remove(route, peer);
  }
}

export class Lanes<P extends Peer> {
  /** All, in no order. */
  readonly all: Lane<P>[] = [];
  readonly #byId: (Lane<P> | undefined)[] = [];

  add(lane: Lane<P>): void {
    const { id, kind } = lane.carrier;
    if (!(id >= 0 && id < CARRIERS_MAX) || this.#byId[id] !== undefined) {
      throw new RangeError(
        `Cannot add carrier ${kind} as its number must be free and below ${CARRIERS_MAX}: ` +
          `current value is ${id}`,
      );
    }
    this.#byId[id] = lane;
    this.all.push(lane);
  }

  remove(lane: Lane<P>): void {
    this.#byId[lane.carrier.id] = undefined;
    this.all.splice(this.all.indexOf(lane), 1);
  }

  /** Of the carrier with this number. */
  at(id: number): Lane<P> | undefined {
    return this.#byId[id];
  }

  /** That a route belongs to; undefined when its carrier has gone. */
  of(route: Route): Lane<P> | undefined {
    return this.#byId[carrierOf(route)];
  }
}

/** Sessions by a hash of a route: what is found may be another route's, rarely. */
export class RoutePeers<P> {
  readonly #peers = new Map<number, Set<P>>();

  add(route: Route, peer: P): void {
    const hash = hashOf(route);
    const present = this.#peers.get(hash);
    if (present === undefined) this.#peers.set(hash, new Set([peer]));
    else present.add(peer);
  }

  remove(route: Route, peer: P): void {
    if (this.#peers.size === 0) return;
    const hash = hashOf(route);
    const present = this.#peers.get(hash);
    if (present?.delete(peer) === true && present.size === 0) this.#peers.delete(hash);
  }

  /** A copy. */
  at(route: Route): P[] {
    return [...this.#peers.get(hashOf(route)) ?? []];
  }

  /** Those of a route, or all, taken out. */
  take(route: Route | undefined): P[] {
    if (this.#peers.size === 0) return [];
    if (route === undefined) {
      const all = [...this.#peers.values()].flatMap((peers) => [...peers]);
      this.#peers.clear();
      return all;
    }
    const taken = this.at(route);
    this.#peers.delete(hashOf(route));
    return taken;
  }
}

function hashOf(route: Route): number {
  let hash = 0;
  for (let i = 0; i < routeWords; i++) {
    hash = Math.imul(hash ^ route[i]!, 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  return hash;
}
