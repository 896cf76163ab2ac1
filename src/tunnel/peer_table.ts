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
    // The mix is a bijection: what has the hash has the id.
    const slot = this.#index.first(mix(id));
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
    const slot = this.#index.first(mix(peer.localId));
    if (slot < 0 || this.#peers[slot] !== peer) return;
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

/** Ids are random, but for their lowest bits, which the index looks at. */
function mix(id: number): number {
  const once = Math.imul(id ^ id >>> 16, 0x45d9_f3b);
  return (once ^ once >>> 16) >>> 0;
}
