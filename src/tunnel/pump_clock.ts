/** The time of the batch that a packet pump is at, and the keys of the windows in step with it. */

import { bootMs, monotonicMs } from "../../ffi/loop.ts";
import type { PacketMask } from "../../ffi/mask.ts";
import { NO_NUMBER } from "../base/number_field.ts";
import type { Tskd } from "../crypto/tskd.ts";
import type { Loop } from "../loop/loop.ts";

export class PumpClock {
  /** Monotonic ms: of the batch that is being worked on. */
  now: number = NO_NUMBER;
  readonly tskd: Tskd;
  readonly mask: PacketMask;
  readonly #loop: Loop;
  readonly #unixMs: () => number;
  readonly #beginnings: () => number;
  #beginning: number;

  /**
   * `unixMs`: our idea of the server's clock; `beginnings`: how often its windows have begun anew,
   * in step with what it gave last.
   */
  constructor(
    loop: Loop,
    mask: PacketMask,
    tskd: Tskd,
    unixMs: () => number,
    beginnings: () => number = () => 0,
  ) {
    this.#loop = loop;
    this.mask = mask;
    this.tskd = tskd;
    this.#unixMs = unixMs;
    this.#beginnings = beginnings;
    this.#beginning = beginnings();
    this.now = loop.now;
  }

  /** How often the windows that the keys are of have begun anew. */
  get beginning(): number {
    return this.#beginning;
  }

  get unixMs(): number {
    return this.#unixMs();
  }

  get bootMs(): number {
    return bootMs(this.#loop.native);
  }

  /** A batch begins. */
  read(): void {
    this.now = monotonicMs(this.#loop.native);
    this.tick();
  }

  /** Keeps the keys of the windows in step with the clock. */
  tick(): void {
    const unixMs = this.#unixMs();
    const beginning = this.#beginnings();
    if (beginning !== this.#beginning) this.tskd.startOver();
    this.#beginning = beginning;
    if (!this.tskd.tick(unixMs)) return;
    this.mask.setKeys(this.tskd.maskKeys, this.tskd.maskCount);
  }
}
