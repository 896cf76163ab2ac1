/**
 * Who gives way when a user has as many sessions as they may and comes again: mostly it is a client
 * that was killed, whose session nobody has ended. The one unheard of for longest is asked for a
 * sign of life and ends without one, so that the client's next HELLO finds room; where all answer,
 * it is refused.
 */

import { CloseCode } from "../../wire/frames.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import type { TunnelUser } from "./users.ts";

/** How long a session has to show that it lives; a client's second HELLO comes after as long. */
const ANSWER_MS = 900;
/** Before that nobody is refused: the session may be another worker's, which hears of it late. */
const REFUSE_AFTER_MS = 2000;
/** A session whose client has not shown itself by then is no loss where there is no room. */
const UNPROVEN_MS = 2000;
const LOOKED_AT_MAX = 64;
/** So long it is known then that nobody gives way. */
const KNOWN_MS = 5000;

interface HeldSessions {
  /** Those whose client has not shown itself yet. */
  readonly unproven: Set<Guest>;
  readonly proven: Set<Guest>;
}

export class GiveWay {
  /** Sessions that did not answer. */
  count = 0;
  /** Sessions that went as the table was full, and somebody with fewer wanted a place. */
  displaced = 0;
  readonly #pump: PacketPump<Guest>;
  /** When users' sessions were asked last, and when each of those that have to answer. */
  readonly #askedAt = new Map<TunnelUser, number>();
  readonly #asked = new Map<Guest, number>();
  /** By user: sessions, the oldest first. */
  readonly #held = new Map<TunnelUser, HeldSessions>();

  constructor(pump: PacketPump<Guest>) {
    this.#pump = pump;
  }

  /** Whether the user's sessions have just been asked, and all live. */
  isRefused(user: TunnelUser): boolean {
    const age = this.#ageOf(user);
    return age >= REFUSE_AFTER_MS && age < KNOWN_MS;
  }

  /** Whether they are to be asked now: here, and by the other workers. */
  isDue(user: TunnelUser): boolean {
    return this.#ageOf(user) >= KNOWN_MS;
  }

  /** Asks the longest silent session of the user that there is here, if silent for so long. */
  ask(user: TunnelUser, silentMs = 0): void {
    const { now } = this.#pump;
    this.#askedAt.set(user, now);
    const guest = this.#silentest(user);
    if (guest === undefined || this.#asked.has(guest)) return;
    if (now - heardOf(guest) < silentMs) return;
    this.#asked.set(guest, now);
    guest.session.ping(guest.session.activePath, 0, 0);
    guest.ownDueAt = Math.min(guest.ownDueAt, now + ANSWER_MS);
    this.#pump.wake(guest);
  }

  /** Its time is over. False: it was not asked. */
  due(guest: Guest, now: number): boolean {
    const askedAt = this.#asked.get(guest);
    if (askedAt === undefined) return false;
    this.#asked.delete(guest);
    if (heardOf(guest) > askedAt) return true;
    this.count++;
    this.#end(guest, now);
    return true;
  }

  /**
   * The table of sessions is full, and this user wants one more: whoever has most gives one up, if
   * they have more than this user would have; first one whose client has not shown itself. Of such
   * sessions any user's gives way after a while, for a HELLO alone costs nothing. Whether one did.
   */
  makeRoom(user: TunnelUser): boolean {
    const biggest = this.#biggest();
    if (biggest === undefined) return false;
    const { now } = this.#pump;
    const { unproven: [unproven], proven } = this.#held.get(biggest)!;
    const isBigger = biggest.sessions > user.sessions + 1;
    const isOld = unproven !== undefined && now - unproven.enteredAt >= UNPROVEN_MS;
    // Looking at all would let a HELLO cost too much.
    const silent = (): Guest | undefined => silentestOf(proven.values().take(LOOKED_AT_MAX));
    const victim = isBigger ? unproven ?? silent() : isOld ? unproven : undefined;
    if (victim === undefined) return false;
    this.displaced++;
    this.#end(victim, now);
    return true;
  }

  #end(guest: Guest, now: number): void {
    guest.session.close(now, CloseCode.tooManySessions);
    this.#pump.release(guest);
  }

  /** A session has its place in the table. */
  entered(guest: Guest): void {
    const user = guest.user!;
    let held = this.#held.get(user);
    if (held === undefined) {
      this.#held.set(user, held = { unproven: new Set(), proven: new Set() });
    }
    held.unproven.add(guest);
  }

  /** Its client has shown itself. */
  shown(guest: Guest): void {
    const held = this.#held.get(guest.user!);
    if (held?.unproven.delete(guest) === true) held.proven.add(guest);
  }

  /** It is over. */
  forget(guest: Guest): void {
    this.#asked.delete(guest);
    const user = guest.user!;
    const held = this.#held.get(user);
    if (held === undefined) return;
    held.unproven.delete(guest);
    held.proven.delete(guest);
    if (held.unproven.size + held.proven.size === 0) this.#held.delete(user);
  }

  #ageOf(user: TunnelUser): number {
    return this.#pump.now - (this.#askedAt.get(user) ?? -Infinity);
  }

  /** Of those that are not closing. */
  #silentest(user: TunnelUser): Guest | undefined {
    const held = this.#held.get(user);
    if (held === undefined) return undefined;
    const open = [...held.unproven, ...held.proven].filter(({ session }) => session.isOpen);
    return silentestOf(open);
  }

  #biggest(): TunnelUser | undefined {
    let biggest: TunnelUser | undefined;
    for (const user of this.#held.keys()) {
      if (biggest === undefined || user.sessions > biggest.sessions) biggest = user;
    }
    return biggest;
  }
}

function silentestOf(guests: Iterable<Guest>): Guest | undefined {
  let silentest: Guest | undefined;
  for (const guest of guests) {
    if (silentest === undefined || heardOf(guest) < heardOf(silentest)) silentest = guest;
  }
  return silentest;
}

function heardOf({ heardAt }: Guest): number {
  return Math.max(...heardAt);
}
