/** Which HELLOs become sessions: named maxima, each of which counts what it refuses. */

import type { Route } from "../../../ffi/endpoint.ts";
import { TokenBucket } from "../../reliability/token_bucket.ts";
import { CloseCode } from "../../wire/frames.ts";
import { SaltLimit } from "./salt_limit.ts";
import { SourceTable } from "./sources.ts";
import type { ServerCounters, ServerTuning } from "./tuning.ts";
import type { TunnelUser } from "./users.ts";

const SESSIONS_PER_SOURCE = 1024;
/**
 * Sessions of a named user that are let in though their source is full: whole offices, and all that
 * comes by a relay, have one address, and one user must not take it from the others.
 */
const SESSIONS_SURE = 4;
const HANDSHAKES_PER_SECOND = 20_000;
const HELD_BYTES_MAX = 16 << 20;

/** The sessions that there are; PeerTable. */
export interface SessionsHeld {
  readonly capacity: number;
  readonly isFull: boolean;
}

export class Admission {
  readonly #peers: SessionsHeld;
  readonly #counters: ServerCounters;
  readonly #sources: SourceTable;
  readonly #copies: SaltLimit;
  readonly #rate: TokenBucket;
  readonly #heldBytesMax: number;
  readonly #makeRoom: (user: TunnelUser) => boolean;
  #heldBytes = 0;
  /** Why admit() has just refused: a CloseCode that the client is told. */
  refusal: CloseCode = CloseCode.done;

  constructor(
    peers: SessionsHeld,
    counters: ServerCounters,
    tuning: ServerTuning,
    random: () => number,
    makeRoom: (user: TunnelUser) => boolean = () => false,
  ) {
    const {
      sessionsPerSource = SESSIONS_PER_SOURCE,
      handshakesPerSecond = HANDSHAKES_PER_SECOND,
      heldBytes = HELD_BYTES_MAX,
    } = tuning;
    this.#peers = peers;
    this.#counters = counters;
    this.#sources = new SourceTable(peers.capacity, sessionsPerSource, random);
    this.#copies = new SaltLimit(random);
    this.#rate = new TokenBucket(handshakesPerSecond);
    this.#heldBytesMax = heldBytes;
    this.#makeRoom = makeRoom;
  }

  /** Whether one more HELLO may be looked at now, whose salt is at `saltAt`. */
  takes(now: number, arena: Uint8Array, saltAt: number): boolean {
    if (!this.#copies.admits(arena, saltAt)) {
      this.#counters.copiesRefused++;
      return false;
    }
    return this.takesHandedOver(now);
  }

  /** The same for one that another worker has looked at. */
  takesHandedOver(now: number): boolean {
    const takes = this.#rate.take(now, 1);
    if (!takes) this.#counters.rateRefused++;
    return takes;
  }

  /**
   * Whether there is room for another session of a user, of which so many bytes of 0-RTT frames
   * would be held back: its place in the table of sources. Less than 0: `refusal` tells why.
   */
  admit(route: Route, user: TunnelUser, unixMs: number, heldBytes: number): number {
    const counters = this.#counters;
    this.refusal = user.refusalOfNew(unixMs);
    if (this.refusal !== CloseCode.done) {
      counters.usersRefused++;
      return -1;
    }
    this.refusal = CloseCode.tooManySessions;
    if (this.#peers.isFull && !this.#makeRoom(user)) {
      counters.sessionsRefused++;
      return -1;
    }
    if (heldBytes > 0 && this.#heldBytes + heldBytes > this.#heldBytesMax) {
      counters.heldRefused++;
      return -1;
    }
    const isSure = user.group !== undefined && user.sessions < SESSIONS_SURE;
    const source = this.#sources.enter(route, isSure);
    if (source < 0) counters.sourcesRefused++;
    return source;
  }

  /** A session of this place is over. */
  leave(source: number): void {
    this.#sources.leave(source);
  }

  /** So many bytes of 0-RTT frames are held back, or (less than 0) no more. */
  hold(bytes: number): void {
    this.#heldBytes += bytes;
  }
}
