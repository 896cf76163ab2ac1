/** Peers in turn, each at most once. */

import type { Peer } from "./peer.ts";

const QUEUE_MIN = 64;

export class PeerQueue<P extends Peer> {
  #peers: (P | undefined)[] = new Array(QUEUE_MIN).fill(undefined);
  #head = 0;
  count = 0;

  /** Puts one at the end that is not in the queue. */
  push(peer: P): void {
    peer.isQueued = true;
    if (this.count === this.#peers.length) this.#grow();
    this.#peers[(this.#head + this.count) & (this.#peers.length - 1)] = peer;
    this.count++;
  }

  /** The first; only while `count` is not 0. */
  shift(): P {
    const peer = this.#peers[this.#head]!;
    this.#peers[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#peers.length - 1);
    this.count--;
    peer.isQueued = false;
    return peer;
  }

  #grow(): void {
    const grown: (P | undefined)[] = new Array(2 * this.#peers.length).fill(undefined);
    for (let i = 0; i < this.count; i++) {
      grown[i] = this.#peers[(this.#head + i) & (this.#peers.length - 1)];
    }
    this.#peers = grown;
    this.#head = 0;
  }
}
