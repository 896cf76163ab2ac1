/**
 * The sending half of a packet pump: peers that may have something to send have turns, in which
 * their sessions build packets; what they built is sealed, masked and handed to the carriers.
 */

import type { Primitives } from "../crypto/primitives.ts";
import type { Loop, Task } from "../loop/loop.ts";
import { DATA_OVERHEAD } from "../wire/limits.ts";
import type { Lane, Lanes } from "./lanes.ts";
import type { Peer } from "./peer.ts";
import { PeerQueue } from "./peer_queue.ts";
import type { PumpClock } from "./pump_clock.ts";
import { PACKET_ROOM, type SendBatch } from "./send_batch.ts";

/** Packets that a session sends before the next one's turn. */
const PACKETS_A_TURN = 64;
/** Batches sent in a round; then it is the turn of what came in. */
const BATCHES_A_ROUND = 8;
/** A timer is moved to an earlier time only for so much; a later one is seen when it fires. */
const TIMER_SLACK_MS = 0.5;
/** A timer that is due although nothing could be done comes again after this. */
const TIMER_AGAIN_MS = 1;

export interface SendOwner<P extends Peer> {
  /** A turn of sending is over. */
  flushed(peer: P, now: number): void;
}

export interface SendParts<P extends Peer> {
  readonly loop: Loop;
  readonly owner: SendOwner<P>;
  readonly clock: PumpClock;
  readonly primitives: Primitives;
  readonly lanes: Lanes<P>;
  readonly batch: SendBatch<P>;
  /** The session is over. */
  readonly release: (peer: P) => void;
}

export class SendSide<P extends Peer> implements Task {
  isPosted = false;
  readonly #loop: Loop;
  readonly #owner: SendOwner<P>;
  readonly #clock: PumpClock;
  readonly #primitives: Primitives;
  readonly #lanes: Lanes<P>;
  readonly #batch: SendBatch<P>;
  readonly #release: (peer: P) => void;
  readonly #queue = new PeerQueue<P>();
  /** Sessions that were found to be over while a batch was filled. */
  readonly #ended: P[] = [];

  constructor(parts: SendParts<P>) {
    this.#loop = parts.loop;
    this.#owner = parts.owner;
    this.#clock = parts.clock;
    this.#primitives = parts.primitives;
    this.#lanes = parts.lanes;
    this.#batch = parts.batch;
    this.#release = parts.release;
  }

  /** The session may have something to send: at the end of the round it may. */
  wake(peer: P): void {
    if (!peer.isQueued && peer.isActive) this.#queue.push(peer);
    this.#loop.post(this);
  }

  runTask(): void {
    if (this.#lanes.all.length === 0 || this.#batch.isBlocked) return;
    for (let batch = 0; batch < BATCHES_A_ROUND && this.#queue.count > 0; batch++) {
      this.#clock.read();
      this.#sendBatch();
      if (this.#batch.isBlocked) return;
    }
    if (this.#queue.count > 0) this.#loop.post(this);
  }

  /** Sends what there is, as far as the carriers take it, for the last time. */
  drain(): void {
    while (this.#queue.count > 0 && !this.#batch.isBlocked) this.#sendBatch();
  }

  /** A lane's carrier takes packets again: its own that wait go first. */
  resume(lane: Lane<P>): void {
    if (!this.#batch.resume(lane)) return;
    for (const peer of lane.takeWaiting(undefined)) this.wake(peer);
    this.#loop.post(this);
  }

  #sendBatch(): void {
    this.#fill();
    if (!this.#batch.isEmpty) this.#batch.send();
    // Not before: their last words had to be sealed.
    while (this.#ended.length > 0) this.#release(this.#ended.pop()!);
  }

  /** Builds packets, in turns, until there is no room or nobody has anything to send. */
  #fill(): void {
    while (this.#queue.count > 0 && this.#batch.hasRoom) {
      const peer = this.#queue.shift();
      if (!peer.isReleased && this.#turn(peer)) this.#settle(peer);
      else if (!peer.isReleased) this.#queue.push(peer);
    }
  }

  /** One session's turn; whether it has nothing more to send now. */
  #turn(peer: P): boolean {
    const { session } = peer;
    const keys = peer.keys!;
    const { now } = this.#clock;
    const batch = this.#batch;
    if (keys.isDue(now)) {
      // Packets of its last turn may wait to be sealed, under the key that is about to go.
      batch.isComplete = !batch.isEmpty;
      if (batch.isComplete) return false;
      keys.update(this.#primitives, now);
    } else if (keys.isSpent) {
      // What is acknowledged next brings the next key.
      return true;
    }
    this.#holdPaths(peer);
    peer.noteSecond(now);
    const { sendLimit, account } = peer;
    const room = Math.min(batch.room, peer.packetBytesMax) - DATA_OVERHEAD;
    for (let i = 0; i < PACKETS_A_TURN; i++) {
      if (!batch.hasRoom) return false;
      if (sendLimit !== undefined && sendLimit.available(now) <= 0) return true;
      const { largeBytes } = session;
      if (largeBytes > room && !batch.hasRoomFor(largeBytes)) {
        batch.isComplete = true;
        return false;
      }
      const { arena, textAt } = batch;
      const length = session.build(now, arena, textAt, Math.max(room, largeBytes));
      if (length === 0) return true;
      if (sendLimit !== undefined) sendLimit.charge(now, length + DATA_OVERHEAD);
      if (account !== undefined) {
        account.down += length + DATA_OVERHEAD;
        account.used();
      }
      batch.add(peer, length);
    }
    return false;
  }

  /** Has the session leave out paths whose carrier takes nothing now, until it does. */
  #holdPaths(peer: P): void {
    const { routes, session } = peer;
    for (let path = 0; path < routes.length; path++) {
      const route = routes[path];
      if (route === undefined) continue;
      const lane = this.#lanes.of(route);
      const isHeld = lane === undefined || lane.isBlocked(route);
      if (isHeld) lane?.wait(route, peer);
      session.holdPath(path, isHeld);
    }
  }

  /** After a turn: a session that is over goes, another one is called again when it wants. */
  #settle(peer: P): void {
    const { session } = peer;
    if (session.isDone) {
      this.#ended.push(peer);
      return;
    }
    const { now } = this.#clock;
    this.#owner.flushed(peer, now);
    let at = Math.min(session.nextTimeout(), peer.ownDueAt, peer.keys!.receive.expiresAt);
    if (peer.sendLimit !== undefined && at <= now) at = peer.sendLimit.next(now, PACKET_ROOM);
    if (at === Infinity) return;
    if (at <= now) at = now + TIMER_AGAIN_MS;
    if (peer.heapIndex < 0 || at < peer.dueAt - TIMER_SLACK_MS) this.#loop.arm(peer, at);
  }
}
