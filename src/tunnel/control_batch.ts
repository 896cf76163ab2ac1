/** HELLO, ACCEPT and RESET on their way out: sealed by whoever adds them, masked and sent here. */

import type { Route } from "../../ffi/endpoint.ts";
import type { PacketMask } from "../../ffi/mask.ts";
import { udpBatchMax } from "../../ffi/udp.ts";
import type { Lane, Lanes } from "./lanes.ts";
import type { Peer } from "./peer.ts";

/** The largest of them. */
export const CONTROL_ROOM = 1500;

export class ControlBatch<P extends Peer> {
  readonly arena: Uint8Array<ArrayBuffer> = new Uint8Array(udpBatchMax * CONTROL_ROOM);
  /** They could not be sent. Whoever waits for one asks again. */
  refused = 0;
  sent = 0;
  readonly #mask: PacketMask;
  readonly #lanes: Lanes<P>;
  readonly #fault: (error: unknown) => void;
  readonly #offsets = new Uint32Array(udpBatchMax);
  #count = 0;

  constructor(mask: PacketMask, lanes: Lanes<P>, fault: (error: unknown) => void) {
    this.#mask = mask;
    this.#lanes = lanes;
    this.#fault = fault;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Where in `arena` the next packet is to be written; there are CONTROL_ROOM bytes. */
  begin(): number {
    if (this.#count === udpBatchMax) this.send();
    return this.#count * CONTROL_ROOM;
  }

  /** Adds the packet that was written where `begin` said. */
  add(route: Route, length: number): void {
    const lane = this.#lanes.of(route);
    if (lane === undefined) {
      this.refused++;
      return;
    }
    const at = this.#count * CONTROL_ROOM;
    this.#offsets[this.#count++] = at;
    lane.control.add(route, at, length);
  }

  /** Sends them all, or drops them; how many were sent. */
  send(): number {
    this.#mask.maskAt(this.#offsets, this.#count, this.arena);
    this.#count = 0;
    let sent = 0;
    for (const lane of this.#lanes.all) if (lane.control.count > 0) sent += this.#sendBy(lane);
    return sent;
  }

  #sendBy({ carrier, control }: Lane<P>): number {
    const { count } = control;
    let sent = 0;
    try {
      const dealt = carrier.send(control);
      // What was taken out of the outbox has gone.
      sent = count - control.count;
      for (let i = 0; i < dealt; i++) if (control.result(i) === 0) sent++;
    } catch (error) {
      this.#fault(error);
    }
    this.sent += sent;
    this.refused += count - sent;
    control.clear();
    return sent;
  }
}
