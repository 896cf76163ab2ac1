/**
 * The paths of a session: which one carries the data, which have proved that the peer is there,
 * and what each is owed. Times and windows of a path are recovery's.
 */

import type { Path as RecoveryPath } from "../reliability/path.ts";
import type { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import { DATA_OVERHEAD, UNPROVEN_PATH_FACTOR } from "../wire/limits.ts";
import { CHALLENGE_REPEAT_MS, CHALLENGES_MAX, PATHS_MAX, PONGS_MAX } from "./limits.ts";

export const NO_PATH = -1;
const TWO_32 = 0x1_0000_0000;
/** A packet that may not even be so long is not begun. */
const SMALLEST_PACKET = 64 + DATA_OVERHEAD;

export class SessionPath {
  /** Its clock, its window, what is in flight on it. */
  readonly recovery: RecoveryPath;
  /** The peer has answered from there. */
  isProven: boolean;
  /** Its carrier takes nothing now. */
  isHeld = false;
  /** Until then little may be sent there; a client picks its own peer, and is not limited. */
  readonly isClient: boolean;
  receivedBytes = 0;
  sentBytes = 0;
  /** Probe timeouts in a row, as seen last. */
  timeouts = 0;
  /** The challenge that is out, and when it is (again) to be sent; Infinity: none. */
  challengeHigh = 0;
  challengeLow = 0;
  challengeAt = Infinity;
  challengesLeft = 0;
  /** A challenge has gone out and is not answered. */
  isAsked = false;
  /** Answers that are owed on this path. */
  owesResponse = false;
  responseHigh = 0;
  responseLow = 0;
  /** PONGs: high and low of each PING that came and is not answered yet. */
  #pongs: Uint32Array | undefined;
  #pongCount = 0;
  owesPing = false;
  pingHigh = 0;
  pingLow = 0;
  /** PATH_STATUS to be said on this path. */
  owesStatus = false;

  constructor(recovery: RecoveryPath, isProven: boolean, isClient = false) {
    this.recovery = recovery;
    this.isProven = isProven;
    this.isClient = isClient;
  }

  get index(): number {
    return this.recovery.index;
  }

  get owesPong(): boolean {
    return this.#pongCount > 0;
  }

  /** Owes a PONG. False: too many are owed already; the packet then counts as lost. */
  owePong(high: number, low: number): boolean {
    if (this.#pongCount === PONGS_MAX) return false;
    const pongs = this.#pongs ??= new Uint32Array(2 * PONGS_MAX);
    pongs[2 * this.#pongCount] = high;
    pongs[2 * this.#pongCount + 1] = low;
    this.#pongCount++;
    return true;
  }

  /** Bytes that may be sent here now: a stranger's address gets three times what it sent. */
  get allowance(): number {
    if (this.isProven || this.isClient) return Infinity;
    return UNPROVEN_PATH_FACTOR * this.receivedBytes - this.sentBytes;
  }

  /** So many bytes, or what is allowed of them. Infinity in a sum would make garbage. */
  atMost(bytes: number): number {
    return this.isProven || this.isClient ? bytes : Math.min(bytes, this.allowance);
  }

  /** Nothing may be sent before more comes, or the carrier takes something. */
  get isBlocked(): boolean {
    return this.isHeld || this.atMost(SMALLEST_PACKET) < SMALLEST_PACKET;
  }

  owesNow(now: number): boolean {
    return this.owesResponse || this.owesPong || this.owesPing || this.owesStatus ||
      this.challengeAt <= now;
  }

  /** When there is something to send here, whatever data there is. */
  nextSend(now: number): number {
    const owes = this.owesResponse || this.owesPong || this.owesPing || this.owesStatus;
    return owes ? now : this.challengeAt;
  }

  ping(high: number, low: number): void {
    this.owesPing = true;
    this.pingHigh = high;
    this.pingLow = low;
  }

  /** The PING that went out was lost: it is said again, unless there is a newer one. */
  pingLost(high: number, low: number): void {
    if (this.pingHigh === high && this.pingLow === low) this.owesPing = true;
  }

  oweResponse(high: number, low: number): void {
    this.owesResponse = true;
    this.responseHigh = high;
    this.responseLow = low;
  }

  /** Asks the peer to prove that it is there. `random`: numbers from 0 up to 1. */
  challengeAnew(now: number, random: () => number): void {
    this.challenge(now, random() * TWO_32 >>> 0, random() * TWO_32 >>> 0);
  }

  challenge(now: number, high: number, low: number): void {
    this.challengeHigh = high;
    this.challengeLow = low;
    this.challengeAt = now;
    this.challengesLeft = CHALLENGES_MAX;
    this.isAsked = false;
  }

  challengeSent(now: number): void {
    this.isAsked = true;
    this.challengesLeft--;
    this.challengeAt = this.challengesLeft > 0 ? now + CHALLENGE_REPEAT_MS : Infinity;
  }

  /** Whether a PATH_RESPONSE answers the challenge that is out on this path, and so proves it. */
  answers(high: number, low: number): boolean {
    if (!this.isAsked || high !== this.challengeHigh || low !== this.challengeLow) return false;
    this.prove();
    return true;
  }

  prove(): void {
    this.isAsked = false;
    this.isProven = true;
    this.challengeAt = Infinity;
  }

  /** Answers and challenges. PING and PATH_STATUS are recorded: see PacketOutput. */
  writeEchoes(now: number, w: Writer): void {
    if (this.owesResponse) {
      this.owesResponse = !frames.writePathResponse(w, this.responseHigh, this.responseLow);
    }
    this.#writePongs(w);
    if (
      this.challengeAt <= now &&
      frames.writePathChallenge(w, this.challengeHigh, this.challengeLow)
    ) this.challengeSent(now);
  }

  #writePongs(w: Writer): void {
    const pongs = this.#pongs;
    if (pongs === undefined || this.#pongCount === 0) return;
    let said = 0;
    while (
      said < this.#pongCount &&
      frames.writePong(w, pongs[2 * said]!, pongs[2 * said + 1]!)
    ) said++;
    pongs.copyWithin(0, 2 * said, 2 * this.#pongCount);
    this.#pongCount -= said;
  }
}

export class SessionPaths {
  /** The path that carries data. */
  active = NO_PATH;
  /** Of the newest PATH_STATUS that we said. */
  sequence = 0;
  readonly #isClient: boolean;
  // Room for one, which is what most sessions have: an empty list would grow to 17.
  readonly #list: (SessionPath | undefined)[] = [undefined];
  /** Of paths that are gone. */
  #receivedBefore = 0;
  #sentBefore = 0;
  /** Of the newest PATH_STATUS that we heard, and the path it wants active. */
  #heard = -1;
  #wanted = NO_PATH;

  constructor(isClient: boolean) {
    this.#isClient = isClient;
  }

  /** One more than the highest index. */
  get count(): number {
    return this.#list.length;
  }

  at(index: number): SessionPath | undefined {
    return this.#list[index];
  }

  /** The index for one more path, or NO_PATH. */
  get freeIndex(): number {
    let index = 0;
    while (this.#list[index] !== undefined) index++;
    return index < PATHS_MAX ? index : NO_PATH;
  }

  add(recovery: RecoveryPath, isProven: boolean): void {
    const { index } = recovery;
    this.#list[index] = new SessionPath(recovery, isProven, this.#isClient);
    if (this.active !== NO_PATH) return;
    if (this.sequence > 0) this.activate(index);
    else this.active = index;
  }

  /** Bytes of packets that came, and that went, by all paths that there have been. */
  get receivedBytes(): number {
    return this.#list.reduce((sum, path) => sum + (path?.receivedBytes ?? 0), this.#receivedBefore);
  }

  get sentBytes(): number {
    return this.#list.reduce((sum, path) => sum + (path?.sentBytes ?? 0), this.#sentBefore);
  }

  remove(index: number): void {
    this.#receivedBefore += this.#list[index]?.receivedBytes ?? 0;
    this.#sentBefore += this.#list[index]?.sentBytes ?? 0;
    this.#list[index] = undefined;
    if (this.#wanted === index) this.#wanted = NO_PATH;
    if (this.active === index) this.active = NO_PATH;
  }

  /** Where data could go instead of `not`: a proven path rather than another; or NO_PATH. */
  best(not: number): number {
    let best = NO_PATH;
    for (let i = 0; i < this.#list.length; i++) {
      const path = this.#list[i];
      if (path === undefined || i === not || path.recovery.dead) continue;
      if (best === NO_PATH || (path.isProven && !this.#list[best]!.isProven)) best = i;
    }
    return best;
  }

  /** Data goes by this path from now on; the client says so. */
  activate(index: number): void {
    const path = this.#list[index];
    if (path === undefined) return;
    this.active = index;
    if (!this.#isClient) return;
    this.sequence++;
    for (const other of this.#list) if (other !== undefined) other.owesStatus = false;
    path.owesStatus = true;
  }

  /** Our PATH_STATUS was lost: it is said again, on the path it is about. */
  statusLost(sequence: number): void {
    const path = this.#list[this.active];
    if (path !== undefined && sequence === this.sequence) path.owesStatus = true;
  }

  /** The client's wish. A path that is not proven may be a forger's: it has to wait. */
  onStatus(path: SessionPath, sequence: number, isActive: boolean): void {
    if (this.#isClient || sequence <= this.#heard) return;
    this.#heard = sequence;
    if (!isActive) return;
    this.#wanted = path.index;
    if (path.isProven) this.active = path.index;
  }

  /** A PATH_RESPONSE came, by whatever path: the one that it proves, or NO_PATH. */
  onResponse(high: number, low: number): number {
    for (const path of this.#list) {
      if (path === undefined || !path.answers(high, low)) continue;
      this.prove(path);
      return path.index;
    }
    return NO_PATH;
  }

  /** The peer has answered from where this path leads. */
  prove(path: SessionPath): void {
    path.prove();
    if (this.#wanted === path.index) this.active = path.index;
  }

  /** Without a word from the client the server answers where its newest packet came from. */
  follow(path: SessionPath): void {
    if (!this.#isClient && this.#heard < 0 && path.isProven) this.active = path.index;
  }
}
