/**
 * Congestion control that is chosen late: a client learns what its server takes by ACCEPT, and has
 * sent its HELLO by then; and a session that has never sent anything needs none.
 */

import type { AckSample, CongestionController } from "../reliability/congestion/controller.ts";

/** `Whose`: what the choice depends on. A closure over it would be one more object a session. */
export class LateController<Whose> implements CongestionController {
  readonly #whose: Whose;
  #choose: (whose: Whose) => CongestionController;
  #chosen: CongestionController | undefined;
  #packetBytes = 0;

  /** What `choose` gives when it is needed serves until `replace`. */
  constructor(whose: Whose, choose: (whose: Whose) => CongestionController) {
    this.#whose = whose;
    this.#choose = choose;
  }

  get #inner(): CongestionController {
    return this.#chosen ?? this.#make();
  }

  #make(): CongestionController {
    const chosen = this.#choose(this.#whose);
    if (this.#packetBytes > 0) chosen.setPacketBytes(this.#packetBytes);
    return this.#chosen = chosen;
  }

  get name(): CongestionController["name"] {
    return this.#inner.name;
  }

  /** From now on another one decides. */
  replace(choose: (whose: Whose) => CongestionController): void {
    this.#choose = choose;
    this.#chosen = undefined;
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
    this.#chosen?.setPacketBytes(bytes);
  }

  window(): number {
    return this.#inner.window();
  }

  pacingRate(): number {
    return this.#inner.pacingRate();
  }
}
