/** The links of a tunnel by the session id in a packet's header; nothing allocated in a look-up. */

import { SlotIndex } from "../crypto/slot_index.ts";
import type { Peer } from "./peer.ts";

export class PeerTable {
  readonly capacity: number;
  readonly #index: SlotIndex;
  readonly #links: (Peer | undefined)[] = [];
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

  find(id: number): Peer | undefined {
    // The mix is a bijection: what has the hash has the id.
    const slot = this.#index.first(mix(id));
    return slot < 0 ? undefined : this.#links[slot];
  }

  /** Adds a link under its `localId`, which must be new. */
  add(link: Peer): void {
    if (this.isFull) {
      throw new RangeError(`Cannot add a session as there must be at most ${this.capacity}`);
    }
    const slot = this.#free.pop() ?? this.#links.length;
    this.#links[slot] = link;
    this.#index.insert(slot, mix(link.localId));
    this.#count++;
  }

  remove(link: Peer): void {
    const slot = this.#index.first(mix(link.localId));
    if (slot < 0 || this.#links[slot] !== link) return;
    this.#index.remove(slot);
    this.#links[slot] = undefined;
    this.#free.push(slot);
    this.#count--;
  }

  /** All links, as a copy: they may be removed meanwhile. */
  all(): Peer[] {
    return this.#links.filter((link) => link !== undefined);
  }
}

/** Ids are random, but for their lowest bits, which the index looks at. */
function mix(id: number): number {
  const once = Math.imul(id ^ id >>> 16, 0x45d9_f3b);
  return (once ^ once >>> 16) >>> 0;
}
