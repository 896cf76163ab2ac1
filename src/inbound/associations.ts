/** UDP through the tunnel: associations of local peers, and the sending of what comes back. */

import type { Route } from "../../ffi/endpoint.ts";
import { routeWords } from "../../ffi/endpoint.ts";
import { UdpInbox, UdpOutbox, type UdpSocket } from "../../ffi/udp.ts";
import { DATAGRAM_BYTES_MAX } from "../session/limits.ts";
import type { Session } from "../session/session.ts";
import { copyBytes } from "../base/copy.ts";
import type { InboundCounters, InboundTunnel } from "./counters.ts";
import type { Loop, Task } from "../loop/loop.ts";

/** Associations of SOCKS5 and peers of forwards, together. */
export const ASSOCIATIONS_MAX = 4096;
/** Batches taken of a socket before the others have their turn. */
export const UDP_BATCHES_A_ROUND = 8;
const OUTBOX_BYTES = 512 << 10;

/** One association: gets what comes back. */
export interface AssociationUser {
  /** The session that knows the association; undefined: none yet, or no longer. */
  session: Session | undefined;
  association: number;
  datagram(
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void;
}

/** All associations of a worker; one inbox and one outbox for all their sockets. */
export class Associations {
  readonly inbox: UdpInbox = new UdpInbox();
  readonly sender: UdpSender;
  readonly #tunnel: InboundTunnel;
  readonly #counters: InboundCounters;
  readonly #users = new Map<number, AssociationUser>();
  #count = 0;
  #next = 0;

  constructor(loop: Loop, tunnel: InboundTunnel, counters: InboundCounters) {
    this.#tunnel = tunnel;
    this.#counters = counters;
    this.sender = new UdpSender(loop, counters);
  }

  get count(): number {
    return this.#count;
  }

  /** Counts one more in; false: there are too many. */
  admit(): boolean {
    if (this.#count >= ASSOCIATIONS_MAX) {
      this.#counters.associationsRefused++;
      return false;
    }
    this.#count++;
    return true;
  }

  /** Ends an admitted one, on the server too. */
  release(user: AssociationUser): void {
    this.#count--;
    this.#users.delete(user.association);
    const { session } = user;
    user.session = undefined;
    if (session === undefined) return;
    session.endAssoc(user.association);
    this.#tunnel.wake(session);
  }

  /** Sends a datagram of a user. The caller wakes the session when its batch is done. */
  send(
    user: AssociationUser,
    address: Uint8Array,
    addressAt: number,
    addressLength: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const session = user.session ?? this.#begin(user);
    const { association } = user;
    const isSent = session.sendDatagram(
      association,
      address,
      addressAt,
      addressLength,
      bytes,
      at,
      length,
    );
    if (!isSent) {
      this.#counters.datagramsDropped++;
      if (length > DATAGRAM_BYTES_MAX) this.#counters.datagramsTooLong++;
      return;
    }
    this.#counters.datagramsUp++;
    this.#counters.datagramBytesUp += length;
  }

  /** Has the session's packets sent. */
  wake(user: AssociationUser): void {
    if (user.session !== undefined) this.#tunnel.wake(user.session);
  }

  /** SessionEvents.datagram. */
  datagram(
    session: Session,
    association: number,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    const user = this.#users.get(association);
    if (user === undefined || user.session !== session) this.#counters.datagramsDropped++;
    else user.datagram(bytes, addressAt, addressLength, at, length);
  }

  /** The server has forgotten it: the next datagram begins another. */
  ended(session: Session, association: number): void {
    const user = this.#users.get(association);
    if (user === undefined || user.session !== session) return;
    this.#users.delete(association);
    user.session = undefined;
  }

  lose(session: Session): void {
    for (const [association, user] of this.#users) {
      if (user.session !== session) continue;
      this.#users.delete(association);
      user.session = undefined;
    }
  }

  #begin(user: AssociationUser): Session {
    const session = this.#tunnel.session();
    user.session = session;
    user.association = this.#next++;
    this.#users.set(user.association, user);
    return session;
  }
}

/** Sends datagrams to local peers: gathered during a round, in one call for each socket. */
export class UdpSender implements Task {
  isPosted = false;
  readonly #loop: Loop;
  readonly #counters: InboundCounters;
  readonly #outbox = new UdpOutbox(new Uint8Array(OUTBOX_BYTES));
  #socket: UdpSocket | undefined;
  #used = 0;

  constructor(loop: Loop, counters: InboundCounters) {
    this.#loop = loop;
    this.#counters = counters;
  }

  /** The memory to write a datagram into, at what `reserve` said. */
  get arena(): Uint8Array<ArrayBuffer> {
    return this.#outbox.arena;
  }

  /** Where to write at most `length` bytes for a socket. */
  reserve(socket: UdpSocket, length: number): number {
    const isFull = this.#outbox.isFull || this.#used + length > OUTBOX_BYTES;
    if (isFull || socket !== this.#socket) this.flush();
    this.#socket = socket;
    return this.#used;
  }

  /** What was reserved last has been written, `length` bytes of it. */
  commit(route: Route, length: number): void {
    this.#outbox.add(route, this.#used, length);
    this.#used += length;
    this.#counters.datagramsDown++;
    this.#counters.datagramBytesDown += length;
    this.#loop.post(this);
  }

  copy(at: number, from: Uint8Array, start: number, length: number): void {
    copyBytes(this.#outbox.arena, at, from, start, length);
  }

  /** Also before a socket is closed. */
  flush(): void {
    const socket = this.#socket;
    if (socket !== undefined && this.#outbox.count > 0) this.#send(socket);
    this.#outbox.clear();
    this.#used = 0;
    this.#socket = undefined;
  }

  #send(socket: UdpSocket): void {
    try {
      // A full socket loses what is left, as networks do.
      this.#counters.datagramsDropped += this.#outbox.count - socket.send(this.#outbox);
    } catch (error) {
      this.#counters.faults++;
      this.#loop.fault(error);
    }
  }

  runTask(): void {
    this.flush();
  }
}

/** A route to be filled. */
export function emptyRoute(): Route {
  return new Uint32Array(routeWords);
}
