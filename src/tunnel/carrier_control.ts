/** Congestion control where a carrier has its own: what it takes may be sent. */

import type { CongestionController } from "../reliability/congestion/controller.ts";
import type { Carrier } from "../transport/carrier.ts";
import { LateController } from "./late_controller.ts";

/** The controller of a peer's path by a carrier; `ours` chooses where that is for us to do. */
export function controllerOf<P>(
  { controls }: Carrier,
  peer: P,
  ours: (peer: P) => CongestionController,
): CongestionController {
  return controls === "ours" ? new LateController(peer, ours) : new CarrierController();
}

/** Limits nothing: a connection that is full is blocked (`Carrier.isBlocked`). */
export class CarrierController implements CongestionController {
  readonly name = "carrier";

  window(): number {
    return Infinity;
  }

  pacingRate(): number {
    return Infinity;
  }

  onSent(): void {}
  onLost(): void {}
  onAck(): void {}
  onSpuriousLoss(): void {}
  onPersistentCongestion(): void {}
  setPacketBytes(): void {}
}
