/**
 * Sockets are opened and closed by turns: each costs some 50 µs, and a few packets of one session
 * can ask for thousands. So many are had at the end of a round, one of each session after the
 * other, and what is given up before its turn costs nothing.
 */

import { monotonicMs } from "../../ffi/loop.ts";
import type { Loop, Task } from "../loop/loop.ts";

/** Turns of a round, of each kind; fewer where they take longer than this. */
const TURNS_A_ROUND = 16;
const ROUND_MS = 2;
/** What a session has at once in a round, without waiting for its end, and all of them together. */
const AT_ONCE_MAX = 2;

/** Something that opens or closes a socket. */
export interface Turn {
  takeTurn(): void;
}

/** Counted since the start. */
export class TurnCounters {
  opened = 0;
  closed = 0;
  /** Rounds that left some for the next. */
  putOff = 0;
}

export class Turns implements Task {
  isPosted = false;
  readonly counters: TurnCounters = new TurnCounters();
  readonly #loop: Loop;
  /** What each session has to open; the session that had its turn last is the last. */
  readonly #opening = new Map<object, Set<Turn>>();
  readonly #closing = new Set<Turn>();
  /** Turns that were had at once in this round. */
  readonly #atOnce = new Map<object, number>();
  #atOnceCount = 0;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /** Sockets that wait to be opened or closed. */
  get waiting(): number {
    let count = this.#closing.size;
    for (const turns of this.#opening.values()) count += turns.size;
    return count;
  }

  /** Opens a socket for a session when it is its turn. */
  open(session: object, turn: Turn): void {
    const turns = this.#opening.get(session);
    if (turns === undefined) this.#opening.set(session, new Set([turn]));
    else turns.add(turn);
    this.#loop.post(this);
  }

  /** Whether a session may open a socket at once: the first of a round need not wait. */
  mayOpen(session: object): boolean {
    const had = this.#atOnce.get(session) ?? 0;
    if (this.#atOnceCount >= TURNS_A_ROUND || had >= AT_ONCE_MAX) return false;
    if (this.#opening.has(session)) return false;
    this.#atOnce.set(session, had + 1);
    this.#atOnceCount++;
    this.counters.opened++;
    this.#loop.post(this);
    return true;
  }

  /** It is given up; whether it had not had its turn. */
  cancel(session: object, turn: Turn): boolean {
    const turns = this.#opening.get(session);
    if (turns?.delete(turn) !== true) return false;
    if (turns.size === 0) this.#opening.delete(session);
    return true;
  }

  /** Closes a socket when it is its turn. */
  close(turn: Turn): void {
    this.#closing.add(turn);
    this.#loop.post(this);
  }

  /** Closes one at once, as its descriptor is wanted; false: none waits for that. */
  closeOne(): boolean {
    for (const turn of this.#closing) {
      this.#close(turn);
      return true;
    }
    return false;
  }

  /** Closes all that wait for that: the worker ends. */
  stop(): void {
    while (this.closeOne());
  }

  runTask(): void {
    const { native } = this.#loop;
    const until = monotonicMs(native) + ROUND_MS;
    this.#atOnce.clear();
    this.#atOnceCount = 0;
    for (let i = 0; i < TURNS_A_ROUND && this.closeOne(); i++) {
      if (monotonicMs(native) >= until) break;
    }
    for (let i = 0; i < TURNS_A_ROUND && this.#openOne(); i++) {
      if (monotonicMs(native) >= until) break;
    }
    if (this.#closing.size === 0 && this.#opening.size === 0) return;
    this.counters.putOff++;
    this.#loop.post(this);
  }

  #close(turn: Turn): void {
    this.#closing.delete(turn);
    this.counters.closed++;
    this.#take(turn);
  }

  #openOne(): boolean {
    for (const [session, turns] of this.#opening) {
      this.#opening.delete(session);
      const [turn] = turns;
      turns.delete(turn!);
      if (turns.size > 0) this.#opening.set(session, turns);
      this.counters.opened++;
      this.#take(turn!);
      return true;
    }
    return false;
  }

  /** What fails is one's own. */
  #take(turn: Turn): void {
    try {
      turn.takeTurn();
    } catch (error) {
      this.#loop.fault(error);
    }
  }
}
