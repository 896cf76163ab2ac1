/**
 * What all sessions of a worker share runs short: whoever holds most of it gives some back. Not at
 * once: who only has much in flight has given it back by itself until then.
 */

import type { FrameRecords } from "../reliability/frame_records.ts";
import type { Budget } from "../session/budget.ts";
import type { Session } from "../session/session.ts";
import { type Loop, NOT_ARMED, type Timer } from "../loop/loop.ts";
import type { Peer } from "./peer.ts";
import type { PeerTable } from "./peer_table.ts";

const RELIEF_MS = 100;
/** So much of all memory is given back at a time. */
const STEP = 1 / 64;
/** Nobody is asked who holds less than so many times what each would have in equal parts. */
const PARTS_MAX = 2;

export interface ReliefParts<P extends Peer> {
  readonly loop: Loop;
  readonly budget: Budget;
  readonly records: FrameRecords;
  readonly peers: PeerTable<P>;
  /** The session may have something to send. */
  readonly wake: (peer: P) => void;
}

/** What is in use of each, and how often one got none. */
export type ShareCounts = Readonly<
  Record<
    "bytesUsed" | "bytesRefused" | "recordsUsed" | "recordsRefused" | "streams" | "unopened",
    number
  >
>;

export class Relief<P extends Peer> implements Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #parts: ReliefParts<P>;

  constructor(parts: ReliefParts<P>) {
    this.#parts = parts;
  }

  get counts(): ShareCounts {
    const { budget, records } = this.#parts;
    return {
      bytesUsed: budget.used,
      bytesRefused: budget.refusals,
      recordsUsed: records.used,
      recordsRefused: records.refused,
      streams: budget.streams.used,
      unopened: budget.unopened.used,
    };
  }

  /** To be called often. */
  watch(now: number): void {
    if (this.#isShort && this.heapIndex === NOT_ARMED) this.#parts.loop.arm(this, now + RELIEF_MS);
  }

  get #isShort(): boolean {
    return this.#parts.budget.isShort || this.#parts.records.isShort;
  }

  fire(now: number): void {
    const { budget, records, loop } = this.#parts;
    if (budget.isShort) {
      this.#relieve(
        budget.max,
        memoryOf,
        (session) => session.relieveMemory(now, STEP * budget.max),
      );
    }
    if (records.isShort) {
      this.#relieve(records.max, recordsOf, (session) => session.recovery.relieve());
    }
    if (this.#isShort) loop.arm(this, now + RELIEF_MS);
  }

  stop(): void {
    this.#parts.loop.disarm(this);
  }

  /** The user that holds most pays, where none holds too much the session that does. */
  #relieve(max: number, held: (peer: Peer) => number, take: (session: Session) => void): void {
    const holders = this.#parts.peers.all().filter((peer) => held(peer) > 0);
    const payer = largest(holders, held, max, ({ session }) => session.shareGroup ?? session) ??
      largest(holders, held, max, (peer) => peer);
    if (payer === undefined) return;
    take(payer.session);
    this.#parts.wake(payer);
  }
}

/** Of the party that holds most, if that is too much, the member that does. */
function largest<P extends Peer>(
  peers: readonly P[],
  held: (peer: P) => number,
  max: number,
  partyOf: (peer: P) => object,
): P | undefined {
  const parties = new Map<object, { held: number; most: P }>();
  for (const peer of peers) {
    const party = parties.get(partyOf(peer)) ?? { held: 0, most: peer };
    parties.set(partyOf(peer), party);
    party.held += held(peer);
    if (held(peer) > held(party.most)) party.most = peer;
  }
  const most = [...parties.values()].reduce(
    (a, b) => b.held > a.held ? b : a,
    { held: 0, most: undefined as P | undefined },
  );
  return most.held * (parties.size + 1) > PARTS_MAX * max ? most.most : undefined;
}

function memoryOf({ session }: Peer): number {
  return session.memoryBytes;
}

function recordsOf({ session }: Peer): number {
  return session.recovery.records;
}
