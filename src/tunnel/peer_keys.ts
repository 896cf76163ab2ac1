/** The keys of a session, and when the next one of ours is due. */

import type { ReceiveKeys, SendKeys } from "../crypto/key_update.ts";
import type { Primitives } from "../crypto/primitives.ts";
import { PATHS_MAX } from "../reliability/params.ts";
import type { Session } from "../session/session.ts";
import { PACKET_NUMBER_MAX } from "../wire/limits.ts";

/** When a sender goes over to its next key; smaller in tests. */
export interface KeyLimits {
  readonly packets: number;
  readonly ms: number;
}

/** So many packets before a key has sealed all that it may, the next one is due. */
const PACKETS_AHEAD = 2 ** 17;

export class PeerKeys {
  readonly send: SendKeys;
  readonly receive: ReceiveKeys;
  /** How often the next key was taken for what we send. */
  updates = 0;
  readonly #session: Session;
  readonly #limits: KeyLimits;
  /** Packets that did not open. */
  forged = 0;
  #since: number;
  #first = 0;
  /** Acknowledged packets that prove one of this phase to be among them. */
  #proof = 1;

  constructor(
    now: number,
    session: Session,
    limits: KeyLimits,
    send: SendKeys,
    receive: ReceiveKeys,
  ) {
    this.#since = now;
    this.#session = session;
    this.#limits = limits;
    this.send = send;
    this.receive = receive;
  }

  /** Whether it is time for the next key. */
  isDue(now: number): boolean {
    const next = this.#session.recovery.nextNumber;
    const packets = Math.min(this.#limits.packets, this.send.packetsMax - PACKETS_AHEAD);
    const isDue = now - this.#since >= this.#limits.ms || next - this.#first >= packets;
    // Two updates that the peer missed would look like none to it.
    return isDue && next !== this.#first && this.#acked() >= this.#proof;
  }

  /** The key has sealed all that it may, and there may be no next one yet. */
  get isSpent(): boolean {
    const next = this.#session.recovery.nextNumber;
    return next - this.#first >= this.send.packetsMax || next > PACKET_NUMBER_MAX;
  }

  /** Goes over to the next key. What was added under the old one must be sealed by now. */
  update(primitives: Primitives, now: number): void {
    const next = this.#session.recovery.nextNumber;
    this.send.update(primitives);
    this.#since = now;
    this.#first = next;
    this.updates++;
    // What is remembered may still be acknowledged; one more than that is of the new phase.
    this.#proof = this.#acked() + this.#session.recovery.remembered + 1;
  }

  /** Packets acknowledged on the paths that there are. */
  #acked(): number {
    let acked = 0;
    for (let i = 0; i < PATHS_MAX; i++) {
      acked += this.#session.recovery.path(i)?.counters.ackedPackets ?? 0;
    }
    return acked;
  }

  wipe(): void {
    this.send.wipe();
    this.receive.wipe();
  }
}
