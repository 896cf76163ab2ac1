/**
 * A packet that is no session's, or not yet: what the tunnel is shown of it. One object for all,
 * valid during the call.
 */

import { type Route, routeWords } from "../../ffi/endpoint.ts";
import type { PacketHeaders } from "../../ffi/mask.ts";
import type { DatagramInbox } from "../../ffi/udp.ts";
import type { Tskd } from "../crypto/tskd.ts";
import type { Carrier } from "../transport/carrier.ts";

export class Arrival {
  index = 0;
  #carrier: Carrier | undefined;
  #inbox: DatagramInbox | undefined;
  readonly #headers: PacketHeaders;
  readonly #tskd: Tskd;

  constructor(headers: PacketHeaders, tskd: Tskd) {
    this.#headers = headers;
    this.#tskd = tskd;
  }

  /** From now on it is one of this batch, by `index`. */
  begin(carrier: Carrier, inbox: DatagramInbox): void {
    this.#carrier = carrier;
    this.#inbox = inbox;
  }

  get carrier(): Carrier {
    return this.#carrier!;
  }

  /** The bytes of the packet are `length` from `at` on. */
  get arena(): Uint8Array<ArrayBuffer> {
    return this.#inbox!.arena;
  }

  get at(): number {
    return this.#inbox!.offset(this.index);
  }

  get length(): number {
    return this.#inbox!.length(this.index);
  }

  /** A copy. */
  get route(): Route {
    const route = new Uint32Array(routeWords);
    this.#inbox!.copyRoute(this.index, route);
    return route;
  }

  // What the header says, which nothing has proved.

  get kind(): number {
    return this.#headers.kind(this.index);
  }

  get session(): number {
    return this.#headers.session(this.index);
  }

  get number(): number {
    return this.#headers.number(this.index);
  }

  /** The window whose key the header was masked with. */
  get window(): number {
    return this.#tskd.maskWindows[this.#headers.window(this.index)]!;
  }
}
