/** What main and the relay's service in a worker tell each other. */

import type { Protocol } from "../loop/protocol.ts";
import type { RelayPlan } from "./kernel_relay.ts";

export interface RelayStart {
  readonly plan: RelayPlan;
  /** A byte for each backend of all services, in their order: RelayByte. Main writes it. */
  readonly states: SharedArrayBuffer;
  /** Sockets that flows may have, beside the limit of the plan. */
  readonly socketsMax: number;
  /** relay_flows, owned by main; where XDP relays. */
  readonly flowsFd?: number;
  /** 32 bytes; where a relay takes only what unmasks. */
  readonly psk?: Uint8Array;
  /** The time that windows follow (crypto/server_clock.ts). */
  readonly clock: SharedArrayBuffer;
}

export const RelayByte = { up: 0, draining: 1, down: 2 } as const;

export interface RelayProtocol extends Protocol {
  readonly start: RelayStart;
  readonly services: {
    /** Hears that states have changed. */
    readonly relay: { readonly hears: "changed" };
  };
}

/** What user space relays; the kernel's part is in its maps. */
export class RelayCounters {
  /** That there are now. */
  flows = 0;
  forwarded = 0;
  returned = 0;
  newFlows = 0;
  moved = 0;
  junk = 0;
  noBackend = 0;
  /** Flows that made room for others. */
  evicted = 0;
  notSent = 0;
}
