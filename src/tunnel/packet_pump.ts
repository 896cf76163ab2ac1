/**
 * Between carriers and sessions, for client and server alike: what came in is opened and handed to
 * its session; what sessions build is sealed and handed to the carriers of their paths.
 *
 *     receive: carrier → unmask → (by id: session, window, key) → open → session.receive
 *     send:    session.build → header → seal → mask → (by route: carrier) → send
 *
 * It owns no socket. A path of a session is a carrier and a route (transport/carrier.ts).
 */

import { AeadTable } from "../../ffi/aead.ts";
import type { Route } from "../../ffi/endpoint.ts";
import { type Direction, PacketMask } from "../../ffi/mask.ts";
import type { DatagramInbox } from "../../ffi/udp.ts";
import { releasePages } from "../../ffi/unused_memory.ts";
import type { Primitives } from "../crypto/primitives.ts";
import { ReplayWindows } from "../crypto/replay_window.ts";
import type { Tskd } from "../crypto/tskd.ts";
import type { Loop } from "../loop/loop.ts";
import type { CongestionController } from "../reliability/congestion/controller.ts";
import type { FrameRecords } from "../reliability/frame_records.ts";
import { PathMtu } from "../reliability/pmtu.ts";
import type { Budget } from "../session/byte_ring.ts";
import type { Session } from "../session/session.ts";
import type { Carrier, CarrierHost } from "../transport/carrier.ts";
import { controllerOf } from "./carrier_control.ts";
import { ControlBatch } from "./control_batch.ts";
import { Lane, Lanes } from "./lanes.ts";
import { LateController } from "./late_controller.ts";
import type { Peer, PeerOwner } from "./peer.ts";
import { PeerTable } from "./peer_table.ts";
import { PumpClock } from "./pump_clock.ts";
import { type ReceiveCounters, type ReceiveOwner, ReceiveSide } from "./receive_side.ts";
import { SendBatch, type SendCounters } from "./send_batch.ts";
import { Relief, type ShareCounts } from "./relief.ts";
import { type SendOwner, SendSide } from "./send_side.ts";

/** Four keys a session: what seals, and of what opens the old, the present and the next one. */
const KEYS_A_SESSION = 4;

/** The tunnel over a packet pump. */
export interface PumpOwner<P extends Peer> extends ReceiveOwner<P>, SendOwner<P> {
  /** The peer's own time (`ownDueAt`) has come. */
  ownDue(peer: P, now: number): void;
  /** A path has gone with its connection; the session may have others. */
  pathGone(peer: P, now: number): void;
  /** The session is over, and all that was held for it is let go of. */
  released(peer: P, now: number): void;
}

export interface PacketPumpOptions {
  readonly primitives: Primitives;
  /** The direction of what it sends. */
  readonly sends: Direction;
  readonly tskd: Tskd;
  /** Of the streams of all sessions. */
  readonly budget: Budget;
  readonly records: FrameRecords;
  readonly sessionsMax: number;
  /** Our idea of the server's clock. */
  readonly unixMs: () => number;
  /** How often its windows have begun anew (pump_clock.ts). */
  readonly beginnings?: () => number;
}

export class PacketPump<P extends Peer> implements CarrierHost, PeerOwner {
  readonly peers: PeerTable<P>;
  /** HELLO, ACCEPT and RESET go out by it. */
  readonly control: ControlBatch<P>;
  /** Where sessions' keys are. */
  readonly table: AeadTable;
  readonly clock: PumpClock;
  readonly #loop: Loop;
  readonly #budget: Budget;
  readonly #owner: PumpOwner<P>;
  readonly #windows: ReplayWindows;
  readonly #lanes = new Lanes<P>();
  readonly #batch: SendBatch<P>;
  readonly #receive: ReceiveSide<P>;
  readonly #send: SendSide<P>;
  readonly #relief: Relief<P>;

  constructor(loop: Loop, owner: PumpOwner<P>, options: PacketPumpOptions) {
    const { primitives, sends, tskd, budget, records, sessionsMax, unixMs, beginnings } = options;
    this.#loop = loop;
    this.#budget = budget;
    this.#owner = owner;
    const mask = new PacketMask(loop.native, sends);
    const fault = (error: unknown) => loop.fault(error);
    const lanes = this.#lanes;
    const clock = this.clock = new PumpClock(loop, mask, tskd, unixMs, beginnings);
    const peers = this.peers = new PeerTable(sessionsMax);
    const windows = this.#windows = new ReplayWindows(sessionsMax);
    const table = this.table = new AeadTable(loop.native, KEYS_A_SESSION * sessionsMax);
    this.control = new ControlBatch(mask, lanes, fault);
    const batch = this.#batch = new SendBatch(table, mask, budget, lanes, fault);
    const wake = (peer: P) => this.wake(peer);
    const release = (peer: P) => this.release(peer);
    this.#receive = new ReceiveSide({ owner, clock, primitives, peers, windows, table, wake });
    this.#send = new SendSide({ loop, owner, clock, primitives, lanes, batch, release });
    this.#relief = new Relief({ loop, budget, records, peers, wake });
  }

  /** What came in. */
  get received(): ReceiveCounters {
    return this.#receive.counters;
  }

  /** What went out. */
  get sent(): SendCounters {
    return this.#batch.counters;
  }

  /** What all sessions share, and how often one got none of it. */
  get shares(): ShareCounts {
    return this.#relief.counts;
  }

  /** Sessions and their streams. */
  get live(): number {
    return this.peers.count + this.#budget.streams.used;
  }

  get now(): number {
    return this.clock.now;
  }

  /**
   * To be called a few times a second: memory that is not in use goes back to the system. The first
   * call makes it, as it is so much that V8 collects garbage for it: not while a worker starts, nor
   * when a session has its first packet.
   */
  tick(): void {
    const { memory } = this.#budget;
    this.#budget.sweep((at, bytes) => {
      releasePages(this.#loop.native, memory.subarray(at, at + bytes));
    });
  }

  // ---- carriers ----

  get isOpen(): boolean {
    return this.#lanes.all.length > 0;
  }

  /** Has a carrier from now on; the pump closes it. */
  addCarrier(carrier: Carrier): void {
    const lane = new Lane<P>(carrier, this.#budget, this.control.arena);
    this.#lanes.add(lane);
    this.#batch.addLane(lane);
    this.clock.tick();
  }

  /** The highest number of a session's packets that opened, also right after its release. */
  highestOf(peer: P): number {
    return this.#windows.highest(peer.window);
  }

  /** Closes a carrier; the paths by it are gone. */
  removeCarrier(carrier: Carrier): void {
    const lane = this.#lanes.at(carrier.id);
    if (lane === undefined || lane.carrier !== carrier) return;
    this.#batch.discard(lane);
    for (const peer of this.peers.all()) {
      for (const route of peer.routes) {
        if (route !== undefined && this.#lanes.of(route) === lane) this.#pathGone(peer, route);
      }
    }
    this.#lanes.remove(lane);
    carrier.close();
  }

  /** The carrier that a route belongs to; undefined: it has gone. */
  carrierOf(route: Route): Carrier | undefined {
    return this.#lanes.of(route)?.carrier;
  }

  /** Releases all sessions without a word, wipes all keys, closes the carriers. */
  close(): void {
    this.#relief.stop();
    for (const peer of this.peers.all()) this.release(peer);
    for (const { carrier } of [...this.#lanes.all]) this.removeCarrier(carrier);
    this.table.close();
    this.clock.tskd.wipe();
  }

  take(carrier: Carrier, inbox: DatagramInbox, count: number): void {
    if (!this.isOpen) return;
    this.#receive.take(carrier, inbox, count);
    if (!this.control.isEmpty && this.isOpen) this.control.send();
    this.#relief.watch(this.clock.now);
  }

  writable(carrier: Carrier, route?: Route): void {
    const lane = this.#lanes.at(carrier.id);
    if (lane === undefined) return;
    if (route === undefined) return this.#send.resume(lane);
    for (const peer of lane.takeWaiting(route)) this.wake(peer);
  }

  gone(carrier: Carrier, route: Route): void {
    const lane = this.#lanes.at(carrier.id);
    if (lane === undefined) return;
    this.clock.now = this.#loop.now;
    for (const peer of lane.users.at(route)) this.#pathGone(peer, route);
  }

  #pathGone(peer: P, route: Route): void {
    const path = peer.pathBy(route);
    if (path < 0) return;
    this.removePath(peer, path);
    this.#owner.pathGone(peer, this.clock.now);
    if (!peer.isReleased) this.wake(peer);
  }

  // ---- sessions ----

  /** Whose session it is; undefined: it is none of ours any more. */
  peerOf(session: Session): P | undefined {
    const { tag } = session;
    const peer = tag === undefined ? undefined : this.peers.at(tag);
    return peer?.session === session ? peer : undefined;
  }

  /** Takes a session in. Its packets are dropped until it is active. */
  add(peer: P): void {
    peer.session.tag = this.peers.add(peer);
    peer.window = this.#windows.acquire();
    this.#receive.forget();
  }

  /**
   * Gives the session a path by a route; its index, or -1: it has as many as it may. Packet size
   * and congestion control are the carrier's; `ours` chooses the latter where it is for us to do.
   */
  addPath(
    peer: P,
    route: Route,
    isProven: boolean,
    ours: (peer: P) => CongestionController,
  ): number {
    const lane = this.#lanes.of(route);
    if (lane === undefined) return -1;
    const { base, max } = lane.carrier.mtu;
    const controller = controllerOf(lane.carrier, peer, ours);
    const path = peer.session.addPath(isProven, controller, new PathMtu(base, max));
    if (path < 0) return path;
    peer.heardAt[path] = this.clock.now;
    this.setRoute(peer, path, route);
    return path;
  }

  /** Has our own congestion control chosen anew, on all paths: more is known of the peer. */
  rechoose(peer: P, ours: (peer: P) => CongestionController): void {
    for (let path = 0; path < peer.routes.length; path++) {
      const controller = peer.session.recovery.path(path)?.controller;
      if (controller instanceof LateController) controller.replace(ours);
    }
  }

  /** The path is found at another route of its carrier. */
  setRoute(peer: P, path: number, route: Route): void {
    const before = peer.routes[path];
    if (before !== undefined) this.#lanes.of(before)?.leave(before, peer);
    peer.routes[path] = route;
    const lane = this.#lanes.of(route);
    if (lane?.carrier.hasConnections === true) lane.users.add(route, peer);
    this.#receive.forget();
  }

  removePath(peer: P, path: number): void {
    const route = peer.routes[path];
    if (route !== undefined) this.#lanes.of(route)?.leave(route, peer);
    peer.session.removePath(path);
    peer.routes[path] = undefined;
    this.#receive.forget();
  }

  /** The session may have something to send: at the end of the round it may. */
  wake(peer: P): void {
    this.#send.wake(peer);
  }

  /** Sends what there is, as far as the carriers take it, for the last time. */
  drain(): void {
    if (this.isOpen) this.#send.drain();
  }

  /** Ends a session, lets go of everything that was held for it, and wipes its keys. */
  release(peer: P): void {
    if (peer.isReleased) return;
    peer.isReleased = true;
    peer.isActive = false;
    const { session, routes } = peer;
    // As if it had been silent for ever: the application hears of it, the peer does not.
    if (!session.isDone) session.onTimeout(Infinity);
    this.#loop.disarm(peer);
    peer.keys?.wipe();
    for (const route of routes) {
      if (route !== undefined) this.#lanes.of(route)?.leave(route, peer);
    }
    this.#windows.release(peer.window);
    this.peers.remove(peer);
    session.tag = undefined;
    this.#receive.forget();
    this.#owner.released(peer, this.clock.now);
  }

  /** The time has come that the peer was armed for. */
  peerDue(peer: P, now: number): void {
    this.clock.now = now;
    peer.session.onTimeout(now);
    peer.keys?.receive.expire(now);
    if (peer.ownDueAt <= now) {
      peer.ownDueAt = Infinity;
      this.#owner.ownDue(peer, now);
    }
    if (!peer.isReleased) this.wake(peer);
  }
}
