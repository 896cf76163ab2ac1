/** HELLO, ACCEPT and RESET on their way out: sealed by whoever adds them, masked and sent here. */

import type { Route } from "../../ffi/endpoint.ts";
import type { PacketMask } from "../../ffi/mask.ts";
import { udpBatchMax, UdpOutbox } from "../../ffi/udp.ts";
import type { Outlet } from "../transport/udp.ts";
import { PACKET_ROOM } from "./send_batch.ts";

export class ControlBatch {
  readonly arena: Uint8Array<ArrayBuffer> = new Uint8Array(udpBatchMax * PACKET_ROOM);
  /** They could not be sent. Whoever waits for one asks again. */
  refused = 0;
  sent = 0;
  readonly #mask: PacketMask;
  readonly #outbox = new UdpOutbox(this.arena);
  readonly #offsets = new Uint32Array(udpBatchMax);

  constructor(mask: PacketMask) {
    this.#mask = mask;
  }

  get isEmpty(): boolean {
    return this.#outbox.count === 0;
  }

  get isFull(): boolean {
    return this.#outbox.isFull;
  }

  /** Where the next packet is to be written; there are PACKET_ROOM bytes. */
  get at(): number {
    return this.#outbox.count * PACKET_ROOM;
  }

  /** Adds the packet at `at`. */
  add(route: Route, length: number): void {
    const at = this.at;
    this.#offsets[this.#outbox.count] = at;
    this.#outbox.add(route, at, length);
  }

  /** Sends them all, or drops them; how many were sent. */
  send(outlet: Outlet): number {
    const outbox = this.#outbox;
    this.#mask.maskAt(this.#offsets, outbox.count, this.arena);
    const { count } = outbox;
    const dealt = outlet.send(outbox);
    let sent = count - outbox.count;
    for (let i = 0; i < dealt; i++) if (outbox.result(i) === 0) sent++;
    this.sent += sent;
    this.refused += count - sent;
    outbox.clear();
    return sent;
  }
}
