/** The peers of a tunnel by the session id in a packet's header; nothing allocated in a look-up. */

import { SlotIndex } from "../crypto/slot_index.ts";
import type { Peer } from "./peer.ts";

export class PeerTable<P extends Peer> {
  readonly capacity: number;
  readonly #index: SlotIndex;
  readonly #peers: (P | undefined)[] = [];
  readonly #free: number[] = [];
  #count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#index = new SlotIndex(capacity);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.capacity;
  }

  find(id: number): P | undefined {
    let slot = this.#index.first(mix(id));
    while (slot >= 0 && this.#peers[slot]!.localId !== id) slot = this.#index.another();
    return slot < 0 ? undefined : this.#peers[slot];
  }

  /** In this place; undefined: nobody. */
  at(slot: number): P | undefined {
    return this.#peers[slot];
  }

  /** Adds a peer under its `localId`, which must be new; its place. */
  add(peer: P): number {
    if (this.isFull) {
      throw new RangeError(`Cannot add a session as there must be at most ${this.capacity}`);
    }
    const slot = this.#free.pop() ?? this.#peers.length;
    this.#peers[slot] = peer;
    this.#index.insert(slot, mix(peer.localId));
    this.#count++;
    return slot;
  }

  remove(peer: P): void {
    let slot = this.#index.first(mix(peer.localId));
    while (slot >= 0 && this.#peers[slot] !== peer) slot = this.#index.another();
    if (slot < 0) return;
    this.#index.remove(slot);
    this.#peers[slot] = undefined;
    this.#free.push(slot);
    this.#count--;
  }

  /** All peers, as a copy: they may be removed meanwhile. */
  all(): P[] {
    return this.#peers.filter((peer) => peer !== undefined);
  }
}

/** 32 bits of the 48; ids are our own, so that nobody can make many alike. */
function mix(id: number): number {
  const low = id | 0;
  const once = Math.imul(low ^ low >>> 16 ^ Math.floor(id / 2 ** 32), 0x45d9_f3b);
  return (once ^ once >>> 16) >>> 0;
}
