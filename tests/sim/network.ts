// A network for simulations: links with a shape, one direction each, all chance from one seed.

import type { Rng } from "../fuzz/rng.ts";
import type { VirtualClock } from "./clock.ts";

/** What a link does to packets. Shares are from 0 to 1, times ms, sizes bytes. */
export interface LinkShape {
  readonly delay: number;
  /** Up to so much more delay, in order. */
  readonly jitter: number;
  /** Packets lost at random, before the queue. */
  readonly loss: number;
  /** Gilbert–Elliott: the share of packets that begin and end a bad spell, and the loss in it. */
  readonly burst: { readonly enter: number; readonly leave: number; readonly loss: number };
  /** Packets that are overtaken, by up to so many ms. */
  readonly reorder: { readonly share: number; readonly delay: number };
  readonly duplicate: number;
  readonly corrupt: number;
  /** Bytes a second; Infinity: no limit. */
  readonly rate: number;
  /** What waits for the rate; more is dropped. */
  readonly queue: number;
  /** Larger packets vanish. */
  readonly mtu: number;
  /** Nothing passes. */
  readonly partitioned: boolean;
}

export const PERFECT: LinkShape = {
  delay: 0,
  jitter: 0,
  loss: 0,
  burst: { enter: 0, leave: 1, loss: 1 },
  reorder: { share: 0, delay: 0 },
  duplicate: 0,
  corrupt: 0,
  rate: Infinity,
  queue: Infinity,
  mtu: Infinity,
  partitioned: false,
};

export interface PeerOptions<Packet> {
  readonly clock: VirtualClock;
  readonly rng: Rng;
  readonly shape: Partial<LinkShape>;
  readonly deliver: (packet: Packet, bytes: number) => void;
  /** What corruption makes of a packet; undefined: what does not authenticate is dropped. */
  readonly corrupt?: (packet: Packet, rng: Rng) => Packet | undefined;
}

/** One direction of a link. */
export class Link<Packet> {
  readonly #options: PeerOptions<Packet>;
  #shape: LinkShape;
  #bad = false;
  #busyUntil = 0;
  #lastArrival = 0;
  sent = 0;
  delivered = 0;
  lost = 0;
  /** Dropped by a queue that was full. */
  overflowed = 0;
  deliveredBytes = 0;

  constructor(options: PeerOptions<Packet>) {
    this.#options = options;
    this.#shape = { ...PERFECT, ...options.shape };
  }

  /** Bytes that wait for the rate. */
  get queued(): number {
    if (this.#shape.rate === Infinity) return 0;
    return Math.max(0, this.#busyUntil - this.#options.clock.now) * this.#shape.rate / 1000;
  }

  /** Changes the link from now on; what is under way stays so. */
  change(shape: Partial<LinkShape>): void {
    this.#shape = { ...this.#shape, ...shape };
  }

  send(packet: Packet, bytes: number): void {
    const { rng } = this.#options;
    const { partitioned, mtu, corrupt, duplicate } = this.#shape;
    this.sent += 1;
    if (partitioned || bytes > mtu || this.#losesNext()) {
      this.lost += 1;
      return;
    }
    let carried: Packet | undefined = packet;
    if (rng.chance(corrupt)) carried = this.#options.corrupt?.(packet, rng);
    if (carried === undefined) {
      this.lost += 1;
      return;
    }
    this.#carry(carried, bytes);
    if (rng.chance(duplicate)) this.#carry(carried, bytes);
  }

  #losesNext(): boolean {
    const { rng } = this.#options;
    const { burst, loss } = this.#shape;
    if (burst.enter > 0) {
      this.#bad = this.#bad ? !rng.chance(burst.leave) : rng.chance(burst.enter);
      if (this.#bad && rng.chance(burst.loss)) return true;
    }
    return rng.chance(loss);
  }

  #carry(packet: Packet, bytes: number): void {
    const { clock, rng } = this.#options;
    const { rate, queue, delay, jitter, reorder } = this.#shape;
    let leaves = clock.now;
    if (rate !== Infinity) {
      if (this.queued + bytes > queue) {
        this.overflowed += 1;
        return;
      }
      this.#busyUntil = Math.max(this.#busyUntil, clock.now) + bytes / rate * 1000;
      leaves = this.#busyUntil;
    }
    let arrives = leaves + delay + (jitter > 0 ? rng.float() * jitter : 0);
    if (rng.chance(reorder.share)) {
      arrives += rng.float() * reorder.delay;
    } else {
      arrives = Math.max(arrives, this.#lastArrival);
      this.#lastArrival = arrives;
    }
    clock.at(arrives, () => {
      this.delivered += 1;
      this.deliveredBytes += bytes;
      this.#options.deliver(packet, bytes);
    });
  }
}

/** How many seeds a simulation runs: PHANTOM_SIM_SEEDS raises it, PHANTOM_SIM_SEED picks one. */
export function simulate(seeds: number, run: (seed: number) => void): void {
  const one = Deno.env.get("PHANTOM_SIM_SEED");
  const first = one ? Number(one) : 1;
  const count = one ? 1 : Number(Deno.env.get("PHANTOM_SIM_SEEDS") ?? seeds);
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || count < 1) {
    throw new RangeError("Cannot use PHANTOM_SIM_SEED or PHANTOM_SIM_SEEDS as it is no number");
  }
  for (let seed = first; seed < first + count; seed++) {
    try {
      run(seed);
    } catch (cause) {
      throw new Error(`simulation failed; to repeat it: PHANTOM_SIM_SEED=${seed}`, { cause });
    }
  }
}
