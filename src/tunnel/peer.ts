/**
 * What a tunnel keeps of a session beside the session itself: its ids on the wire, its keys, the
 * route of each path, its timer, and whose it is.
 */

import type { Route } from "../../ffi/endpoint.ts";
import type { ReceiveKeys, SendKeys } from "../crypto/key_update.ts";
import type { Primitives } from "../crypto/primitives.ts";
import { PACKET_BYTES_MAX, RESET_NUMBER_MS_MAX } from "../wire/limits.ts";
import type { TokenBucket } from "../reliability/token_bucket.ts";
import type { Session } from "../session/session.ts";
import { NOT_ARMED, type Timer } from "../loop/loop.ts";

/** When a sender goes over to its next key; smaller in tests. */
export interface KeyLimits {
  readonly packets: number;
  readonly ms: number;
}

/** Whose timer it is. */
export interface PeerOwner {
  linkDue(link: Peer, now: number): void;
}

/** A second for each of the seconds in which a RESET may be about a number. */
const SECONDS = RESET_NUMBER_MS_MAX / 1000;
const NO_SLOT = -1;
/** Of a session that has not sent anything. */
const NO_SECONDS = new Float64Array(0);

export class Peer implements Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly session: Session;
  /** The id in packets towards us, and the one in packets to the peer. */
  readonly localId: number;
  peerId = 0;
  /** Keys are there, packets may come and go. */
  isActive = false;
  /** A packet of the peer's has opened: it has our keys, and is where it says. */
  isConfirmed = false;
  isReleased = false;
  /** Waits for its turn to send. */
  isQueued = false;
  sendKeys: SendKeys | undefined;
  receiveKeys: ReceiveKeys | undefined;
  /** What the peer's line takes, bytes a second; 0: not stated. */
  takeRate = 0;
  /** Its place in ReplayWindows. */
  window: number = NO_SLOT;
  /** By path index. */
  readonly routes: (Route | undefined)[] = [undefined];
  /** When each path was last heard of, by path index. */
  readonly heardAt: number[] = [-Infinity];
  /** The path that carried data when it was last looked at. */
  lastActive = 0;
  /** Largest packet that the peer takes. */
  packetBytesMax: number = PACKET_BYTES_MAX;
  /** Where the bytes of its packets are counted. */
  account: { up: number; down: number } | undefined;
  /** Limits of the user, shared by all their sessions: what we send, what comes. */
  sendLimit: TokenBucket | undefined;
  receiveLimit: TokenBucket | undefined;
  /** What the tunnel wants to be called for; Infinity: nothing. */
  ownDueAt = Infinity;
  /** How often the next key was taken for what we send. */
  keyUpdates = 0;

  readonly #owner: PeerOwner;
  readonly #keyLimits: KeyLimits;
  #keySince = 0;
  #keyFirst = 0;
  /** Acknowledged packets that prove one of this phase to be among them. */
  #keyProof = 1;
  /** By second: when it began, and behind all of those the first number sent in each. */
  #seconds = NO_SECONDS;

  constructor(session: Session, localId: number, owner: PeerOwner, keyLimits: KeyLimits) {
    this.session = session;
    this.localId = localId;
    this.#owner = owner;
    this.#keyLimits = keyLimits;
  }

  isOf(owner: PeerOwner): boolean {
    return this.#owner === owner;
  }

  fire(now: number): void {
    this.#owner.linkDue(this, now);
  }

  /** The keys are there from now on. */
  activate(now: number, peerId: number, sendKeys: SendKeys, receiveKeys: ReceiveKeys): void {
    this.peerId = peerId;
    this.sendKeys = sendKeys;
    this.receiveKeys = receiveKeys;
    this.isActive = true;
    this.#keySince = now;
  }

  /** Whether it is time for the next key. */
  isKeyDue(now: number): boolean {
    const next = this.session.recovery.nextNumber;
    const isDue = now - this.#keySince >= this.#keyLimits.ms ||
      next - this.#keyFirst >= this.#keyLimits.packets;
    // Two updates that the peer missed would look like none to it.
    return isDue && next !== this.#keyFirst && this.#acked() >= this.#keyProof;
  }

  /** Goes over to the next key. What was added under the old one must be sealed by now. */
  updateKeys(primitives: Primitives, now: number): void {
    const next = this.session.recovery.nextNumber;
    this.sendKeys!.update(primitives, now, next);
    this.#keySince = now;
    this.#keyFirst = next;
    this.keyUpdates++;
    // What is remembered may still be acknowledged; one more than that is of the new phase.
    this.#keyProof = this.#acked() + this.session.recovery.remembered + 1;
  }

  /** Packets acknowledged on the paths that there are. */
  #acked(): number {
    let acked = 0;
    for (let i = 0; i < this.routes.length; i++) {
      acked += this.session.recovery.path(i)?.counters.ackedPackets ?? 0;
    }
    return acked;
  }

  /** Notes about when which numbers were sent. Call it before sending; mostly it looks once. */
  noteSecond(now: number): void {
    const second = Math.floor(now / 1000);
    const place = second % SECONDS;
    if (this.#seconds[place] === second * 1000) return;
    if (this.#seconds === NO_SECONDS) {
      this.#seconds = new Float64Array(2 * SECONDS).fill(-Infinity, 0, SECONDS);
    }
    this.#seconds[place] = second * 1000;
    this.#seconds[SECONDS + place] = this.session.recovery.nextNumber;
  }

  /** Whether a number was sent lately enough for a RESET to be about it. */
  sentLately(now: number, number: number): boolean {
    if (number >= this.session.recovery.nextNumber) return false;
    let first = Infinity;
    for (let i = 0; i < SECONDS; i++) {
      if (this.#seconds[i]! > now - RESET_NUMBER_MS_MAX) {
        first = Math.min(first, this.#seconds[SECONDS + i]!);
      }
    }
    return number >= first;
  }
}
