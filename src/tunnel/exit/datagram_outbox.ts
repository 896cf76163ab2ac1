/**
 * Datagrams of a round on their way from one socket to targets: gathered in one memory, and what
 * goes in a row to one peer joined, so that the kernel cuts it (GSO).
 */

import { endpointWords, type Route, routeWords } from "../../../ffi/endpoint.ts";
import {
  udpBatchMax,
  udpGsoMax,
  UdpOutbox,
  udpPayloadMax,
  type UdpSocket,
} from "../../../ffi/udp.ts";
import type { CheckedTarget } from "../../proxy/rules.ts";
import { copyBytes } from "../../base/copy.ts";
import type { Loop } from "../../loop/loop.ts";

const ARENA_BYTES = 96 << 10;
const PORT_WORD = endpointWords - 2;
const NO_RUN = -1;

/** What is counted. */
export interface OutboxCounters {
  sent: number;
  notSent: number;
  faults: number;
}

export class DatagramOutbox {
  readonly #loop: Pick<Loop, "fault">;
  readonly #counters: OutboxCounters;
  readonly #outbox = new UdpOutbox(new Uint8Array(ARENA_BYTES));
  readonly #target: Route = new Uint32Array(routeWords);
  readonly #targetIp = new Uint8Array(this.#target.buffer, 0, 16);
  readonly #route: Route = new Uint32Array(routeWords);
  #socket: UdpSocket | undefined;
  #used = 0;
  // The run of datagrams of one size to one peer; the last may be shorter.
  #runAt = NO_RUN;
  #runSegment = 0;
  #runCount = 0;
  #runIsWhole = false;
  #datagrams = 0;

  constructor(loop: Pick<Loop, "fault">, counters: OutboxCounters) {
    this.#loop = loop;
    this.#counters = counters;
  }

  /** Whose datagrams it has; undefined: nobody's. */
  get socket(): UdpSocket | undefined {
    return this.#socket;
  }

  /** Copies a datagram that rules have allowed. */
  add(
    socket: UdpSocket,
    to: CheckedTarget,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    to.copyIp(this.#targetIp, 0);
    this.#target[PORT_WORD] = to.port;
    if (socket !== this.#socket || this.#used + length > ARENA_BYTES) this.flush();
    if (!this.#joins(length)) {
      if (this.#isFull) this.flush();
      this.#begin(length);
    }
    this.#socket = socket;
    copyBytes(this.#outbox.arena, this.#used, bytes, at, length);
    this.#used += length;
    this.#runCount++;
    this.#datagrams++;
    if (length < this.#runSegment || length === 0) this.#runIsWhole = true;
  }

  /** Sends what there is. */
  flush(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const outbox = this.#outbox;
    try {
      this.#endRun();
      const dealt = socket.send(outbox);
      let lost = outbox.count - dealt;
      for (let i = 0; i < dealt; i++) if (outbox.result(i) < 0) lost++;
      this.#counters.notSent += lost;
      this.#counters.sent += Math.max(0, this.#datagrams - lost);
    } catch (error) {
      this.#counters.faults++;
      this.#loop.fault(error);
    }
    // Whatever happened: what stays would go wrong in each round to come.
    outbox.clear();
    this.#runAt = NO_RUN;
    this.#socket = undefined;
    this.#used = 0;
    this.#datagrams = 0;
  }

  /** No entry is left but for the run that is being made. */
  get #isFull(): boolean {
    return this.#runAt !== NO_RUN && this.#outbox.count === udpBatchMax - 1;
  }

  #joins(length: number): boolean {
    if (this.#runAt === NO_RUN || this.#runIsWhole || length > this.#runSegment) return false;
    // Nothing is nothing to cut off.
    if (length === 0) return false;
    if (this.#runCount >= udpGsoMax || this.#used - this.#runAt + length > udpPayloadMax) {
      return false;
    }
    for (let word = 0; word <= PORT_WORD; word++) {
      if (this.#target[word] !== this.#route[word]) return false;
    }
    return true;
  }

  #begin(length: number): void {
    this.#endRun();
    for (let word = 0; word <= PORT_WORD; word++) this.#route[word] = this.#target[word]!;
    this.#runAt = this.#used;
    this.#runSegment = length;
    this.#runCount = 0;
    this.#runIsWhole = false;
  }

  #endRun(): void {
    if (this.#runAt === NO_RUN) return;
    const segment = this.#runCount > 1 ? this.#runSegment : 0;
    this.#outbox.add(this.#route, this.#runAt, this.#used - this.#runAt, segment);
    this.#runAt = NO_RUN;
  }
}
