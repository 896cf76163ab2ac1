/**
 * Mask keys for the programs in the kernel, written ahead: whoever writes them may stand still for
 * minutes before a packet is missed. When they have run out the programs let everything pass.
 */

import { MaskKey, TunnelLimit } from "../../../ffi/bpf/layout.gen.ts";
import { type BpfMap, keyOfIndex } from "../../../ffi/bpf/map.ts";
import { NS_A_MS } from "../../base/units.ts";
import { maskKeyOf, windowOf } from "../../crypto/tskd.ts";
import type { Primitives } from "../../crypto/primitives.ts";
import { WINDOW_MS } from "../../wire/limits.ts";

/** Of the places, one is of the window before, and two are left of those before that. */
const AHEAD = TunnelLimit.maskKeys - 4;
/** Clocks that differ by less are left alone. */
const DRIFT_MS = 20;

/** What time it is, by both clocks at once. */
export interface Clocks {
  readonly unixMs: number;
  /** Of the machine, as the programs see it. */
  readonly monotonicMs: number;
}

export class KernelKeys {
  readonly #map: BpfMap;
  readonly #primitives: Primitives;
  readonly #psk: Uint8Array;
  /** The window at each place, with when it was said to begin; 0: none of ours. */
  readonly #windows = new Float64Array(TunnelLimit.maskKeys);
  readonly #begins = new Float64Array(TunnelLimit.maskKeys);

  /** `psk` stays the caller's. */
  constructor(map: BpfMap, primitives: Primitives, psk: Uint8Array) {
    this.#map = map;
    this.#primitives = primitives;
    this.#psk = psk;
  }

  /** Writes what is missing, or is said to begin at another time; the place of the present key. */
  update({ unixMs, monotonicMs }: Clocks): number {
    const present = windowOf(unixMs);
    const first = Math.max(1, present - 1);
    for (let window = first; window <= present + AHEAD; window++) {
      const place = window % TunnelLimit.maskKeys;
      const beginMs = monotonicMs + (window * WINDOW_MS - unixMs);
      const isSaid = this.#windows[place] === window &&
        Math.abs(this.#begins[place]! - beginMs) < DRIFT_MS;
      if (!isSaid) this.#write(place, window, beginMs);
    }
    return present % TunnelLimit.maskKeys;
  }

  #write(place: number, window: number, beginMs: number): void {
    const key = maskKeyOf(this.#primitives, this.#psk, window);
    const words = new DataView(key.buffer);
    const value = new Uint8Array(MaskKey.size);
    MaskKey.write(new DataView(value.buffer), 0, {
      window: BigInt(window),
      // A machine that is younger than the window: as if it had begun with it.
      beginNs: BigInt(Math.max(0, Math.round(beginMs * NS_A_MS))),
      k0: words.getBigUint64(0, true),
      k1: words.getBigUint64(8, true),
    });
    this.#map.set(keyOfIndex(place), value);
    this.#windows[place] = window;
    this.#begins[place] = beginMs;
    key.fill(0);
    value.fill(0);
  }
}
