/** The time of the batch that a packet pump is at, and the keys of the windows in step with it. */

import { monotonicMs } from "../../ffi/loop.ts";
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

  /** `unixMs`: our idea of the server's clock. */
  constructor(loop: Loop, mask: PacketMask, tskd: Tskd, unixMs: () => number) {
    this.#loop = loop;
    this.mask = mask;
    this.tskd = tskd;
    this.#unixMs = unixMs;
    this.now = loop.now;
  }

  get unixMs(): number {
    return this.#unixMs();
  }

  /** A batch begins. */
  read(): void {
    this.now = monotonicMs(this.#loop.native);
    this.tick();
  }

  /** Keeps the keys of the windows in step with the clock. */
  tick(): void {
    if (!this.tskd.tick(this.#unixMs())) return;
    this.mask.setKeys(this.tskd.maskKeys, this.tskd.maskCount);
  }
}
