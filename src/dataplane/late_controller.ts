/**
 * Congestion control that is chosen late: a client learns what its server takes by ACCEPT, and has
 * sent its HELLO by then.
 */

import type { AckSample, CongestionController } from "../reliability/congestion/controller.ts";

export class LateController implements CongestionController {
  #inner: CongestionController;
  #packetBytes = 0;

  /** `inner` serves until `replace`. */
  constructor(inner: CongestionController) {
    this.#inner = inner;
  }

  get name(): CongestionController["name"] {
    return this.#inner.name;
  }

  /** From now on another one decides. */
  replace(inner: CongestionController): void {
    this.#inner = inner;
    if (this.#packetBytes > 0) inner.setPacketBytes(this.#packetBytes);
  }

  onSent(now: number, bytes: number, inFlight: number): void {
    this.#inner.onSent(now, bytes, inFlight);
  }

  onLost(now: number, sample: AckSample): void {
    this.#inner.onLost(now, sample);
  }

  onAck(now: number, sample: AckSample): void {
    this.#inner.onAck(now, sample);
  }

  onSpuriousLoss(now: number, sentTime: number, bytes: number): void {
    this.#inner.onSpuriousLoss(now, sentTime, bytes);
  }

  onPersistentCongestion(now: number): void {
    this.#inner.onPersistentCongestion(now);
  }

  setPacketBytes(bytes: number): void {
    this.#packetBytes = bytes;
    this.#inner.setPacketBytes(bytes);
  }

  window(): number {
    return this.#inner.window();
  }

  pacingRate(): number {
    return this.#inner.pacingRate();
  }
}
