/**
 * The paths of a session: which one carries the data, which have proved that the peer is there,
 * and what each is owed. Times and windows of a path are recovery's (reliability/path.ts).
 */

import { UNPROVEN_PATH_FACTOR } from "../wire/limits.ts";
import { CHALLENGE_REPEAT_MS, CHALLENGES_MAX } from "./limits.ts";

export class SessionPath {
  readonly index: number;
  /** The peer has answered from there. */
  isProven: boolean;
  receivedBytes = 0;
  sentBytes = 0;
  /** The challenge that is out, and when it is (again) to be sent; Infinity: none. */
  challengeHigh = 0;
  challengeLow = 0;
  challengeAt = Infinity;
  challengesLeft = 0;
  /** Answers that are owed on this path. */
  owesResponse = false;
  responseHigh = 0;
  responseLow = 0;
  owesPong = false;
  pongHigh = 0;
  pongLow = 0;
  owesPing = false;
  pingHigh = 0;
  pingLow = 0;
  /** PATH_STATUS to be said on this path. */
  owesStatus = false;

  constructor(index: number, isProven: boolean) {
    this.index = index;
    this.isProven = isProven;
  }

  /** Bytes that may be sent here now: a stranger's address gets three times what it sent. */
  get allowance(): number {
    if (this.isProven) return Infinity;
    return UNPROVEN_PATH_FACTOR * this.receivedBytes - this.sentBytes;
  }

  owesNow(now: number): boolean {
    return this.owesResponse || this.owesPong || this.owesPing || this.owesStatus ||
      this.challengeAt <= now;
  }

  challenge(now: number, high: number, low: number): void {
    this.challengeHigh = high;
    this.challengeLow = low;
    this.challengeAt = now;
    this.challengesLeft = CHALLENGES_MAX;
  }

  challengeSent(now: number): void {
    this.challengesLeft--;
    this.challengeAt = this.challengesLeft > 0 ? now + CHALLENGE_REPEAT_MS : Infinity;
  }

  /** Whether a PATH_RESPONSE proves this path. */
  answers(high: number, low: number): boolean {
    if (this.challengesLeft === CHALLENGES_MAX && this.challengeAt === Infinity) return false;
    if (high !== this.challengeHigh || low !== this.challengeLow) return false;
    this.isProven = true;
    this.challengeAt = Infinity;
    return true;
  }
}
