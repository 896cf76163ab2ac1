// Path MTU discovery by probe packets (RFC 8899), without a word from routers.

import {
  PMTU_BASE,
  PMTU_HOLE_LOSSES,
  PMTU_MAX_DEFAULT,
  PMTU_PROBES_MAX,
  PMTU_RAISE_MS,
  PMTU_STEP_MIN,
} from "./params.ts";

/**
 * Sizes are bytes of a packet on its carrier (UDP payload). The largest is tried first, since most
 * paths carry it; then it halves the doubt. `base === max` fixes the size, for stream carriers.
 *
 *     base ... size (carried) ... probing ... tooLarge
 */
export class PathMtu {
  readonly base: number;
  readonly #max: number;
  #size: number;
  #tooLarge: number;
  #probing = 0;
  #inFlight = false;
  #probeLosses = 0;
  #finishedAt = 0;
  #holeLosses = 0;
  #smallAcked = false;
  #largeAcked = -1;
  /** How often the size fell back to the base. */
  holes = 0;

  constructor(base: number = PMTU_BASE, max: number = PMTU_MAX_DEFAULT) {
    if (!(base > 0 && max >= base)) {
      throw new RangeError(`Cannot search a path MTU between ${base} and ${max}`);
    }
    this.base = base;
    this.#max = max;
    this.#size = base;
    this.#tooLarge = max + 1;
    this.#probing = max > base ? max : 0;
  }

  /** Largest packet that is known to pass. */
  get size(): number {
    return this.#size;
  }

  /** Size of the probe to send now, or 0. */
  probe(now: number): number {
    if (this.#inFlight) return 0;
    if (this.#probing === 0 && this.#size < this.#max && now >= this.#finishedAt + PMTU_RAISE_MS) {
      this.#tooLarge = this.#max + 1;
      this.#probing = this.#max;
    }
    return this.#probing;
  }

  onProbeSent(): void {
    this.#inFlight = true;
  }

  /** A packet arrived; `sequence` is its place among those sent on this path. */
  onAcked(now: number, bytes: number, isProbe: boolean, sequence: number): void {
    if (isProbe) this.#inFlight = false;
    if (bytes > this.#size && bytes <= this.#max) {
      this.#size = bytes;
      this.#probeLosses = 0;
      this.#choose(now);
    }
    if (bytes > this.base) {
      if (sequence > this.#largeAcked) this.#largeAcked = sequence;
      this.#holeLosses = 0;
      this.#smallAcked = false;
    } else if (this.#holeLosses > 0) {
      this.#smallAcked = true;
      this.#checkHole();
    }
  }

  onLost(now: number, bytes: number, isProbe: boolean, sequence: number): void {
    if (isProbe) {
      this.#inFlight = false;
      // A late result of a search that has since moved on says nothing new.
      if (bytes !== this.#probing) return;
      this.#probeLosses += 1;
      if (this.#probeLosses < PMTU_PROBES_MAX) return;
      this.#tooLarge = bytes;
      this.#probeLosses = 0;
      this.#choose(now);
    } else if (bytes > this.base && this.#size > this.base && sequence > this.#largeAcked) {
      // A large packet that was sent later and arrived shows that there is no hole.
      this.#holeLosses += 1;
      this.#checkHole();
    }
  }

  #choose(now: number): void {
    const doubt = this.#tooLarge - this.#size;
    if (doubt > PMTU_STEP_MIN) {
      this.#probing = Math.min(this.#max, this.#size + (doubt >> 1));
      return;
    }
    this.#probing = 0;
    this.#finishedAt = now;
  }

  #checkHole(): void {
    if (this.#holeLosses < PMTU_HOLE_LOSSES || !this.#smallAcked) return;
    this.holes += 1;
    this.#holeLosses = 0;
    this.#smallAcked = false;
    this.#tooLarge = this.#size;
    this.#size = this.base;
    this.#probeLosses = 0;
    this.#inFlight = false;
    this.#probing = this.base + ((this.#tooLarge - this.base) >> 1);
  }
}
