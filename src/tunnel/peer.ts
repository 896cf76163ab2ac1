/**
 * What a tunnel keeps of a session beside the session itself: its ids on the wire, its keys, the
 * route of each path, its timer, and whose it is.
 */

import type { UserAccount } from "../proxy/users.ts";
import { isSameRoute, type Route } from "../../ffi/endpoint.ts";
import type { ReceiveKeys, SendKeys } from "../crypto/key_update.ts";
import { PACKET_BYTES_MAX, RESET_NUMBER_MS_MAX } from "../wire/limits.ts";
import type { TokenBucket } from "../reliability/token_bucket.ts";
import type { Session } from "../session/session.ts";
import { NOT_ARMED, type Timer } from "../loop/loop.ts";
import { type KeyLimits, PeerKeys } from "./peer_keys.ts";

/** A second for each of the seconds in which a RESET may be about a number. */
const SECONDS = RESET_NUMBER_MS_MAX / 1000;
const NO_SLOT = -1;

/** Which numbers were sent when: for a peer that may send a RESET, as a server may. */
export class SentSeconds {
  /** By second: when it began, and behind all of those the first number sent in each. */
  readonly #seconds = new Float64Array(2 * SECONDS).fill(-Infinity, 0, SECONDS);

  /** `next`: the number to be sent next. */
  note(now: number, next: number): void {
    const second = Math.floor(now / 1000);
    const place = second % SECONDS;
    if (this.#seconds[place] === second * 1000) return;
    this.#seconds[place] = second * 1000;
    this.#seconds[SECONDS + place] = next;
  }

  /** Whether a number below `next` was sent lately enough for a RESET to be about it. */
  hasLately(now: number, number: number, next: number): boolean {
    if (number >= next) return false;
    let first = Infinity;
    for (let i = 0; i < SECONDS; i++) {
      if (this.#seconds[i]! > now - RESET_NUMBER_MS_MAX) {
        first = Math.min(first, this.#seconds[SECONDS + i]!);
      }
    }
    return number >= first;
  }
}

/** Whose timer it is; PacketPump. */
export interface PeerOwner {
  peerDue(peer: Peer, now: number): void;
}

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
  keys: PeerKeys | undefined;
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
  account: Pick<UserAccount, "up" | "down" | "used"> | undefined;
  /** Limits of the user, shared by all their sessions: what we send, what comes. */
  sendLimit: TokenBucket | undefined;
  receiveLimit: TokenBucket | undefined;
  /** What the tunnel wants to be called for; Infinity: nothing. */
  ownDueAt = Infinity;
  /** Of a peer that may send a RESET. */
  sentSeconds: SentSeconds | undefined;
  readonly #owner: PeerOwner;
  readonly #keyLimits: KeyLimits;

  constructor(session: Session, localId: number, owner: PeerOwner, keyLimits: KeyLimits) {
    this.session = session;
    this.localId = localId;
    this.#owner = owner;
    this.#keyLimits = keyLimits;
  }

  fire(now: number): void {
    this.#owner.peerDue(this, now);
  }

  /** The keys are there from now on. */
  activate(now: number, peerId: number, sendKeys: SendKeys, receiveKeys: ReceiveKeys): void {
    this.peerId = peerId;
    this.keys = new PeerKeys(now, this.session, this.#keyLimits, sendKeys, receiveKeys);
    this.isActive = true;
  }

  /** The path that has this route; -1: none. */
  pathBy(route: Route): number {
    return this.routes.findIndex((one) => one !== undefined && isSameRoute(one, route));
  }

  /** Notes about when which numbers were sent. Call it before sending; mostly it looks once. */
  noteSecond(now: number): void {
    this.sentSeconds?.note(now, this.session.recovery.nextNumber);
  }

  /** Whether a number was sent lately enough for a RESET to be about it. */
  sentLately(now: number, number: number): boolean {
    return this.sentSeconds?.hasLately(now, number, this.session.recovery.nextNumber) ?? false;
  }
}
