/** A UDP forward: each local peer gets an association to the one target. */

import { routeWords } from "../../ffi/endpoint.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import type { Route } from "../../ffi/endpoint.ts";
import { UdpSocket } from "../../ffi/udp.ts";
import type { Session } from "../session/session.ts";
import { type AssociationUser, emptyRoute, UDP_BATCHES_A_ROUND } from "./associations.ts";
import type { InboundContext } from "./context.ts";
import { NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import type { InboundSpec } from "./spec.ts";

/** A peer that neither sends nor gets anything for so long is forgotten. */
export const PEER_IDLE_MS = 60_000;
const SWEEP_MS = 5_000;
const NO_PEER = "there are too many associations";

/** One local address and port. */
class ForwardPeer implements AssociationUser {
  session: Session | undefined;
  association = -1;
  readonly route: Route = emptyRoute();
  readonly hash: number;
  usedAt = 0;
  /** Another one of the same hash. */
  next: ForwardPeer | undefined;
  readonly #forward: UdpForward;

  constructor(forward: UdpForward, hash: number) {
    this.#forward = forward;
    this.hash = hash;
  }

  datagram(
    bytes: Uint8Array,
    _addressAt: number,
    _addressLength: number,
    at: number,
    length: number,
  ): void {
    this.#forward.reply(this, bytes, at, length);
  }
}

export class UdpForward implements Watcher, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #socket: UdpSocket;
  #address: Uint8Array;
  readonly #tag: number;
  readonly #peers = new Map<number, ForwardPeer>();
  readonly #route = emptyRoute();
  #count = 0;
  #last: ForwardPeer | undefined;

  constructor(context: InboundContext, spec: InboundSpec, address: Uint8Array) {
    this.#context = context;
    this.#address = address;
    this.#socket = new UdpSocket(context.native, { local: spec.listen });
    this.#tag = context.loop.watch(this.#socket.fd, EpollEvent.in, this);
  }

  get port(): number {
    return this.#socket.local.port;
  }

  /** Leads to another target from now on. */
  become(address: Uint8Array): void {
    this.#address = address;
  }

  get peers(): number {
    return this.#count;
  }

  ready(): void {
    try {
      this.#receiveAll();
    } catch (error) {
      // An error of the socket is told once; what comes next is received again.
      this.#context.fault(error);
    }
  }

  #receiveAll(): void {
    const { inbox } = this.#context.associations;
    for (let batch = 0; batch < UDP_BATCHES_A_ROUND; batch++) {
      const count = this.#socket.receive(inbox);
      if (count === 0) break;
      for (let i = 0; i < count; i++) this.#receive(i);
    }
    if (this.#last !== undefined) this.#context.associations.wake(this.#last);
  }

  #receive(i: number): void {
    const { associations, counters, loop } = this.#context;
    const { inbox } = associations;
    const peer = inbox.isTruncated(i) ? undefined : this.#peerOf(i);
    if (peer === undefined) {
      counters.datagramsDropped++;
      return;
    }
    peer.usedAt = loop.now;
    const address = this.#address;
    const { arena } = inbox;
    associations.send(peer, address, 0, address.length, arena, inbox.offset(i), inbox.length(i));
  }

  /** Who sent the i-th datagram; undefined: there are too many of them. */
  #peerOf(i: number): ForwardPeer | undefined {
    const { associations } = this.#context;
    const { inbox } = associations;
    if (this.#last !== undefined && inbox.isRoute(i, this.#last.route)) return this.#last;
    inbox.copyRoute(i, this.#route);
    const hash = hashOf(this.#route);
    const first = this.#peers.get(hash);
    let peer = first;
    while (peer !== undefined && !inbox.isRoute(i, peer.route)) peer = peer.next;
    if (peer === undefined) {
      if (!associations.admit()) {
        this.#context.onRefused("a UDP forward's new peer is refused", NO_PEER);
        return undefined;
      }
      peer = new ForwardPeer(this, hash);
      peer.route.set(this.#route);
      peer.next = first;
      this.#peers.set(hash, peer);
      this.#count++;
      const { loop } = this.#context;
      if (this.heapIndex === NOT_ARMED) loop.arm(this, loop.now + SWEEP_MS);
    }
    this.#last = peer;
    return peer;
  }

  reply(peer: ForwardPeer, bytes: Uint8Array, at: number, length: number): void {
    peer.usedAt = this.#context.loop.now;
    const { sender } = this.#context.associations;
    const to = sender.reserve(this.#socket, length);
    sender.copy(to, bytes, at, length);
    sender.commit(peer.route, length);
  }

  /** Forgets peers that were idle for too long. */
  fire(now: number): void {
    for (const [hash, first] of this.#peers) {
      let kept: ForwardPeer | undefined;
      for (let peer: ForwardPeer | undefined = first, next; peer !== undefined; peer = next) {
        next = peer.next;
        if (peer.usedAt + PEER_IDLE_MS <= now) this.#forget(peer);
        else {
          peer.next = kept;
          kept = peer;
        }
      }
      if (kept === undefined) this.#peers.delete(hash);
      else this.#peers.set(hash, kept);
    }
    if (this.#count > 0) this.#context.loop.arm(this, now + SWEEP_MS);
  }

  #forget(peer: ForwardPeer): void {
    this.#count--;
    if (this.#last === peer) this.#last = undefined;
    this.#context.associations.release(peer);
  }

  close(): void {
    const { associations, loop } = this.#context;
    associations.sender.flush();
    loop.disarm(this);
    for (const first of this.#peers.values()) {
      for (let peer: ForwardPeer | undefined = first; peer !== undefined; peer = peer.next) {
        this.#forget(peer);
      }
    }
    this.#peers.clear();
    loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
  }
}

/** 30 bits, so that it stays a small integer. */
function hashOf(route: Route): number {
  let hash = 0x811c9dc5;
  for (let word = 0; word < routeWords; word++) {
    hash = Math.imul(hash ^ route[word]!, 0x01000193);
    hash ^= hash >>> 15;
  }
  return hash >>> 2;
}
